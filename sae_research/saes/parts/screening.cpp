// Codes of latents that can fire: a cheap product in whole numbers bounds every pre-activation, and only where the
// bound leaves a latent open is the exact product taken. Compiled and called by screening.py, which says what is what.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <thread>
#include <vector>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

namespace {

// Tokens whose rows of x stay in the cache together.
constexpr int64_t kBlock = 256;

struct Problem {
    const int32_t* product;    // (tokens, atoms): quantised x times quantised encoder
    const float* x;            // (tokens, width)
    const float* encoder;      // (atoms, width)
    const float *x_scale, *x_error, *x_norm;  // per token: quantum, norm of what quantising lost, norm of the quantised
    const float *w_scale, *w_norm, *w_error;  // per atom
    const float *gate, *level, *scale, *bias;  // fires where x w + gate > level; the code is relu(scale x w + bias)
    int64_t tokens, atoms, width, k, room;
    int32_t* counts;   // (tokens,): codes of the token, -1 where there was no room
    int32_t* latents;  // (tokens, room)
    float* codes;      // (tokens, room)
};

// The atoms whose upper bound exceeds `floor`; `upper` holds the bounds.
int64_t open_atoms(const float* upper, int64_t atoms, float floor, int32_t* found) {
    int64_t n = 0, j = 0;
#ifdef __AVX512F__
    const __m512 limit = _mm512_set1_ps(floor);
    __m512i index = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i step = _mm512_set1_epi32(16);
    for (; j + 16 <= atoms; j += 16, index = _mm512_add_epi32(index, step)) {
        const __mmask16 open = _mm512_cmp_ps_mask(_mm512_loadu_ps(upper + j), limit, _CMP_NLE_UQ);
        // The store writes 16 places: `found` has as many to spare.
        _mm512_storeu_si512(found + n, _mm512_maskz_compress_epi32(open, index));
        n += __builtin_popcount(open);
    }
#endif
    for (; j < atoms; ++j) {
        found[n] = static_cast<int32_t>(j);
        n += !(upper[j] <= floor);
    }
    return n;
}

int64_t count_from(const float* values, int64_t n, float floor) {
    int64_t count = 0;
#pragma omp simd reduction(+ : count)
    for (int64_t j = 0; j < n; ++j) count += values[j] >= floor;
    return count;
}

// A value that at least k entries reach, nearly the largest such.
float reached_by(const float* values, int64_t n, int64_t k) {
    float low = values[0], high = values[0];
#pragma omp simd reduction(min : low) reduction(max : high)
    for (int64_t j = 0; j < n; ++j) {
        low = std::min(low, values[j]);
        high = std::max(high, values[j]);
    }
    for (int step = 0; step < 14; ++step) {
        const float middle = low + (high - low) / 2;
        (count_from(values, n, middle) >= k ? low : high) = middle;
    }
    return low;
}

// The products of one encoder row with the rows of x that want it.
void products_of_row(const Problem& p, const float* w, const float* x, const int32_t* tokens, int64_t n, float* out) {
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) {
        const float* rows[4];
        for (int r = 0; r < 4; ++r) rows[r] = x + int64_t{tokens[i + r]} * p.width;
        float a = 0, b = 0, c = 0, d = 0;
#pragma omp simd reduction(+ : a, b, c, d)
        for (int64_t j = 0; j < p.width; ++j) {
            a += w[j] * rows[0][j];
            b += w[j] * rows[1][j];
            c += w[j] * rows[2][j];
            d += w[j] * rows[3][j];
        }
        out[i] = a, out[i + 1] = b, out[i + 2] = c, out[i + 3] = d;
    }
    for (; i < n; ++i) {
        const float* row = x + int64_t{tokens[i]} * p.width;
        // Two sums at a time: one alone waits for itself.
        const int64_t half = p.width / 2;
        const float *row2 = row + half, *w2 = w + half;
        float a = 0, b = p.width % 2 ? w[p.width - 1] * row[p.width - 1] : 0;
#pragma omp simd reduction(+ : a, b)
        for (int64_t j = 0; j < half; ++j) {
            a += w[j] * row[j];
            b += w2[j] * row2[j];
        }
        out[i] = a + b;
    }
}

// What a thread works on: a block of tokens, its open (token, atom) pairs in order of tokens, and their products.
struct Bench {
    std::vector<float> value, upper, dot, sorted_dot;
    std::vector<int32_t> open, atom, sorted_token;
    std::vector<int64_t> first_of_atom, place, first_of_token;
    explicit Bench(int64_t atoms) : value(atoms), upper(atoms), open(atoms + 16), first_of_atom(atoms + 1) {}
};

// The products of all open pairs, atom by atom: an encoder row comes from memory once for all tokens of the block.
void exact_products(const Problem& p, const float* x, Bench& bench) {
    const int64_t pairs = bench.atom.size(), tokens = bench.first_of_token.size() - 1;
    bench.dot.resize(pairs);
    bench.sorted_dot.resize(pairs);
    bench.sorted_token.resize(pairs);
    bench.place.resize(pairs);
    auto& first = bench.first_of_atom;
    std::fill(first.begin(), first.end(), 0);
    for (const int32_t j : bench.atom) ++first[j + 1];
    for (int64_t j = 0; j < p.atoms; ++j) first[j + 1] += first[j];
    for (int64_t t = 0; t < tokens; ++t)
        for (int64_t i = bench.first_of_token[t]; i < bench.first_of_token[t + 1]; ++i) {
            const int64_t at = first[bench.atom[i]]++;
            bench.place[i] = at;
            bench.sorted_token[at] = static_cast<int32_t>(t);
        }
    // first[j] is now the end of atom j.
    for (int64_t j = 0, start = 0; j < p.atoms; start = first[j++])
        products_of_row(p, p.encoder + j * p.width, x, &bench.sorted_token[start], first[j] - start,
                        &bench.sorted_dot[start]);
    for (int64_t i = 0; i < pairs; ++i) bench.dot[i] = bench.sorted_dot[bench.place[i]];
}

// Fills bench.open with the atoms of token t that may fire; how many.
int64_t candidates(const Problem& p, int64_t t, Bench& bench) {
    const int32_t* __restrict product = p.product + t * p.atoms;
    const float s = p.x_scale[t], error = p.x_error[t], norm = p.x_norm[t];
    float *__restrict value = bench.value.data(), *__restrict upper = bench.upper.data();
    const float *__restrict w_norm = p.w_norm, *__restrict w_error = p.w_error, *__restrict w_scale = p.w_scale;
    const float *__restrict gate = p.gate, *__restrict level = p.level;
    float widest = 0;
#pragma omp simd reduction(max : widest)
    for (int64_t j = 0; j < p.atoms; ++j) {
        const float slack = error * w_norm[j] + norm * w_error[j];
        value[j] = s * w_scale[j] * static_cast<float>(product[j]) + (gate[j] - level[j]);
        upper[j] = value[j] + slack;
        widest = std::max(widest, slack);
    }
    if (p.k == 0) return open_atoms(upper, p.atoms, 0.0f, bench.open.data());
    // The k-th largest exact value is at least the k-th largest approximate one less the widest error.
    const float floor = reached_by(value, p.atoms, p.k) - widest;
    return open_atoms(upper, p.atoms, std::max(0.0f, floor - 1e-6f * std::fabs(floor)), bench.open.data());
}

// Writes token t, whose open pairs are `atom` and `dot`; both are used up.
void write_token(const Problem& p, int64_t t, int32_t* atom, float* dot, int64_t open) {
    int64_t n = 0;
    for (int64_t i = 0; i < open; ++i) {
        const int32_t j = atom[i];
        const float product = dot[i], code = product * p.scale[j] + p.bias[j];
        // What is not a number stays: whoever reads the codes must see it.
        if (product + p.gate[j] <= p.level[j] || code <= 0) continue;
        atom[n] = j;
        dot[n++] = code;
    }
    if (p.k > 0 && n > p.k) {
        // The k largest, of equal ones the lowest atoms; then in order of atoms again.
        std::vector<int32_t> order(n);
        for (int64_t i = 0; i < n; ++i) order[i] = static_cast<int32_t>(i);
        const auto size = [&](int32_t i) { return std::isnan(dot[i]) ? INFINITY : dot[i]; };
        std::nth_element(order.begin(), order.begin() + p.k, order.end(), [&](int32_t a, int32_t b) {
            return size(a) != size(b) ? size(a) > size(b) : a < b;
        });
        std::sort(order.begin(), order.begin() + p.k);
        for (int64_t i = 0; i < p.k; ++i) {
            atom[i] = atom[order[i]];
            dot[i] = dot[order[i]];
        }
        n = p.k;
    }
    p.counts[t] = n > p.room ? -1 : static_cast<int32_t>(n);
    if (n > p.room) return;
    std::copy_n(atom, n, p.latents + t * p.room);
    std::copy_n(dot, n, p.codes + t * p.room);
}

void write_block(const Problem& p, int64_t first, int64_t last, Bench& bench) {
    bench.atom.clear();
    bench.first_of_token.assign(1, 0);
    for (int64_t t = first; t < last; ++t) {
        const int64_t open = candidates(p, t, bench);
        bench.atom.insert(bench.atom.end(), bench.open.begin(), bench.open.begin() + open);
        bench.first_of_token.push_back(bench.atom.size());
    }
    exact_products(p, p.x + first * p.width, bench);
    for (int64_t t = first; t < last; ++t) {
        const int64_t start = bench.first_of_token[t - first], end = bench.first_of_token[t - first + 1];
        write_token(p, t, &bench.atom[start], &bench.dot[start], end - start);
    }
}

}  // namespace

extern "C" void screened_codes(
    const int32_t* product, const float* x, const float* encoder, const float* x_scale, const float* x_error,
    const float* x_norm, const float* w_scale, const float* w_norm, const float* w_error, const float* gate,
    const float* level, const float* scale, const float* bias, int32_t* counts, int32_t* latents, float* codes,
    int64_t tokens, int64_t atoms, int64_t width, int64_t k, int64_t room, int32_t threads) {
    const Problem p{product, x, encoder, x_scale, x_error, x_norm, w_scale, w_norm, w_error, gate, level, scale,
                    bias, tokens, atoms, width, k, room, counts, latents, codes};
    const auto work = [&p](int64_t first, int64_t last) {
        Bench bench(p.atoms);
        for (int64_t t = first; t < last; t += kBlock) write_block(p, t, std::min(t + kBlock, last), bench);
    };
    const int64_t n = std::max<int64_t>(1, std::min<int64_t>(threads, tokens / 16));
    std::vector<std::thread> others;
    for (int64_t i = 1; i < n; ++i) others.emplace_back(work, tokens * i / n, tokens * (i + 1) / n);
    work(0, tokens / n);
    for (auto& other : others) other.join();
}
