// Codes of latents that can fire: a product in whole numbers bounds every pre-activation while it lies in registers, and
// only where the bound leaves a latent open is the exact product taken. Compiled and called by screening.py, which says
// what is what; needs a processor with AVX-512 VNNI, and exports nothing elsewhere.
#ifdef __AVX512VNNI__
#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

namespace {

// Tokens whose rows of x stay in the cache together.
constexpr int64_t kBlock = 512;
// What a tile of the product keeps in registers: tokens, and vectors of atoms.
constexpr int64_t kRows = 8, kVectors = 3, kLanes = 16, kPanel = kVectors * kLanes;
// Inputs that one instruction multiplies and adds.
constexpr int64_t kGroup = 4;
// Added to the error of x, relative to its norm: the rounding of float32 sums on both sides.
constexpr float kRounding = 2e-5f;
// At most so many inputs are multiplied exactly, beside the whole numbers of all others.
constexpr int64_t kWide = 2;

// Arrays over atoms, `rows`, `gain` and `bias` aside, go on with zeros to whole panels.
struct Encoder {
    const uint8_t* whole;  // (panels, groups, kPanel, kGroup): the quantised encoder plus 128
    const float* rows;     // (atoms, width): the encoder as it is
    const float *scale, *norm, *error;  // quantum, norm, norm of what quantising lost
    const float *gate, *level;          // fires where x w + gate > level, or |x w| > 0
    const float *gain, *bias;           // the code is relu(gain x w + bias), or x w
    int64_t atoms, width, k;            // of a token's codes the k largest; 0: all
    const float* wide;                  // (n_wide, atoms): the columns of the wide inputs, which are 0 in `whole`
    const int64_t* wide_inputs;         // which these are
    int64_t n_wide;
    int32_t magnitude;                  // whether size alone counts, and codes have signs
    float largest_norm, largest_error;
    int64_t groups() const { return (width + kGroup - 1) / kGroup; }
    int64_t padded() const { return (atoms + kPanel - 1) / kPanel * kPanel; }
};

struct Token {
    float scale = 0, norm = 0, error = 0;  // as of an atom
    int32_t start = 0;                     // takes the encoder's 128 off again
    float margin = 0;                      // what the floor stays below the k-th largest approximate value
    float wide[kWide] = {};                // the wide inputs
};

// The lanes of a vector that are among the first n of an array, from place i on.
inline __mmask16 lanes_before(size_t n, size_t i) {
    return n - i >= kLanes ? 0xffff : static_cast<__mmask16>((1u << (n - i)) - 1);
}

// A value that at least k of the n entries reach: exactly k unless those around the k-th largest are nearly equal.
float reached_by(const float* values, size_t n, size_t k) {
    __m512 least = _mm512_set1_ps(INFINITY), most = _mm512_set1_ps(-INFINITY);
    for (size_t i = 0; i < n; i += kLanes) {
        const __mmask16 here = lanes_before(n, i);
        const __m512 some = _mm512_maskz_loadu_ps(here, values + i);
        least = _mm512_mask_min_ps(least, here, least, some), most = _mm512_mask_max_ps(most, here, most, some);
    }
    float low = _mm512_reduce_min_ps(least), high = _mm512_reduce_max_ps(most);
    size_t count = n;
    for (int step = 0; step < 16 && count != k; ++step) {
        const float middle = low + (high - low) / 2;
        const __m512 limit = _mm512_set1_ps(middle);
        count = 0;
        for (size_t i = 0; i < n; i += kLanes) {
            const __mmask16 here = lanes_before(n, i);
            const __m512 some = _mm512_maskz_loadu_ps(here, values + i);
            count += __builtin_popcount(_mm512_mask_cmp_ps_mask(here, some, limit, _CMP_GE_OQ));
        }
        (count >= k ? low : high) = middle;
    }
    return low;
}

// The atoms of a token that may fire, ascending.
struct Open {
    std::vector<int32_t> atom;
    std::vector<float> value;  // about how far above its level (or how large), then the exact product, then the code
    std::vector<float> upper;  // at most how far
    size_t size = 0, limit = 0;
    float floor = 0;  // what the upper bound must exceed

    void restart(int64_t k) {
        size = 0, limit = 4 * k, floor = 0;
    }

    // For a panel more; loads and stores are of all lanes.
    void make_room() {
        if (size + kPanel + kLanes <= atom.size()) return;
        const size_t room = 2 * size + 256;
        atom.resize(room), value.resize(room), upper.resize(room);
    }

    void add(__mmask16 open, __m512i atoms, __m512 values, __m512 uppers) {
        _mm512_storeu_si512(&atom[size], _mm512_maskz_compress_epi32(open, atoms));
        _mm512_storeu_ps(&value[size], _mm512_maskz_compress_ps(open, values));
        _mm512_storeu_ps(&upper[size], _mm512_maskz_compress_ps(open, uppers));
        size += __builtin_popcount(open);
    }

    // Raises the floor to what k atoms reach, less `margin`, and drops those that it rules out.
    void prune(size_t k, float margin) {
        if (size <= k) return;
        floor = std::max(floor, std::nextafter(reached_by(value.data(), size, k) - margin, -INFINITY));
        keep_above(floor);
        limit = std::max(limit, 2 * size);
    }

    // Drops the atoms whose upper bound does not exceed `least`.
    void keep_above(float least) {
        const size_t before = size;
        size = 0;
        for (size_t i = 0; i < before; i += kLanes) {
            const __m512 uppers = _mm512_loadu_ps(&upper[i]);
            const __mmask16 here = lanes_before(before, i);
            const __mmask16 kept = _mm512_mask_cmp_ps_mask(here, uppers, _mm512_set1_ps(least), _CMP_NLE_UQ);
            add(kept, _mm512_loadu_si512(&atom[i]), _mm512_loadu_ps(&value[i]), uppers);
        }
    }
};

// A token of the block with an open atom, and where their product goes.
struct Pair {
    int32_t token, place;
};

// What a thread works on, kept from call to call: what is allocated anew is cleared by the kernel first.
struct Bench {
    std::vector<int8_t> row;
    std::vector<float> rest;  // a row of x without its wide inputs
    std::vector<int8_t> whole;  // (tiles of kRows tokens, groups, kRows, kGroup)
    std::vector<Token> tokens = std::vector<Token>(kBlock);
    std::vector<Open> open = std::vector<Open>(kBlock);
    std::vector<Pair> pairs;
    std::vector<int32_t> end_of_atom, order;

    void fit(const Encoder& e) {
        row.resize(e.groups() * kGroup);
        rest.resize(e.width);
        whole.resize(kBlock * row.size());
        end_of_atom.resize(e.atoms);
    }
};

thread_local Bench first_bench, second_bench;
// The codes of one call, one token after the other.
thread_local std::vector<int32_t> found_latents;
thread_local std::vector<float> found_codes;

// Rounds one row of x to whole numbers.
Token quantise(const float* x, int64_t width, int8_t* whole) {
    float largest = 0;
#pragma omp simd reduction(max : largest)
    for (int64_t i = 0; i < width; ++i) largest = std::max(largest, std::fabs(x[i]));
    const float scale = std::max(largest / 127, 1.17549435e-38f), inverse = 1 / scale;
    float lost = 0, kept = 0, norm = 0;
    int32_t sum = 0;
#pragma omp simd reduction(+ : lost, kept, norm, sum)
    for (int64_t i = 0; i < width; ++i) {
        const float step = std::min(std::max(std::nearbyint(x[i] * inverse), -127.0f), 127.0f);
        const float rest = x[i] - step * scale;
        lost += rest * rest, kept += step * step, norm += x[i] * x[i];
        sum += static_cast<int32_t>(step);
        whole[i] = static_cast<int8_t>(step);
    }
    Token token;
    token.scale = scale, token.norm = scale * std::sqrt(kept), token.start = -128 * sum;
    token.error = std::sqrt(lost) + kRounding * std::sqrt(norm);
    return token;
}

// The same, with the wide inputs aside.
Token quantise_rest(const Encoder& e, const float* x, Bench& bench) {
    if (e.n_wide == 0) return quantise(x, e.width, bench.row.data());
    std::copy_n(x, e.width, bench.rest.data());
    for (int64_t i = 0; i < e.n_wide; ++i) bench.rest[e.wide_inputs[i]] = 0;
    Token token = quantise(bench.rest.data(), e.width, bench.row.data());
    for (int64_t i = 0; i < e.n_wide; ++i) {
        token.wide[i] = x[e.wide_inputs[i]];
        token.error += kRounding * std::fabs(token.wide[i]);
    }
    return token;
}

// What the k-th largest value may lie below its approximation: the bound itself where one must be `sure`, otherwise four
// times its size for errors that have nothing to do with the atoms.
float margin_of(const Encoder& e, const Token& token, bool sure) {
    const float most = token.error * e.largest_norm + token.norm * e.largest_error;
    return sure ? most : most * std::min(1.0f, 4 / std::sqrt(static_cast<float>(e.width)));
}

// Puts rows of x where tiles look for them; whether all are finite.
bool load(const Encoder& e, const float* x, int64_t count, bool sure, Bench& bench) {
    const int64_t groups = e.groups();
    for (int64_t t = 0; t < (count + kRows - 1) / kRows * kRows; ++t) {
        bench.tokens[t] = {};
        std::fill(bench.row.begin(), bench.row.end(), 0);
        if (t < count) {
            bench.tokens[t] = quantise_rest(e, x + t * e.width, bench);
            bench.tokens[t].margin = margin_of(e, bench.tokens[t], sure);
            if (!std::isfinite(bench.tokens[t].error)) return false;
            bench.open[t].restart(e.k);
        }
        int8_t* whole = &bench.whole[(t / kRows * groups * kRows + t % kRows) * kGroup];
        for (int64_t g = 0; g < groups; ++g) std::memcpy(whole + g * kRows * kGroup, &bench.row[g * kGroup], kGroup);
    }
    return true;
}

// The products of kRows tokens with a panel of atoms, in whole numbers.
inline void multiply(const uint8_t* panel, const int8_t* x, int64_t groups, const Token* tokens,
                     __m512i (&product)[kRows][kVectors]) {
    __m512i sum[kRows][kVectors];  // Stays in registers where all loops over it are unrolled.
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 3
        for (int v = 0; v < kVectors; ++v) sum[r][v] = _mm512_set1_epi32(tokens[r].start);
    for (int64_t group = 0; group < groups; ++group, panel += kPanel * kGroup, x += kRows * kGroup) {
        __m512i atoms[kVectors];
#pragma GCC unroll 3
        for (int v = 0; v < kVectors; ++v) atoms[v] = _mm512_loadu_si512(panel + v * kLanes * kGroup);
#pragma GCC unroll 8
        for (int r = 0; r < kRows; ++r) {
            int32_t four;
            std::memcpy(&four, x + r * kGroup, sizeof four);
            const __m512i inputs = _mm512_set1_epi32(four);
#pragma GCC unroll 3
            for (int v = 0; v < kVectors; ++v) sum[r][v] = _mm512_dpbusd_epi32(sum[r][v], atoms[v], inputs);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 3
        for (int v = 0; v < kVectors; ++v) product[r][v] = sum[r][v];
}

// What a vector of atoms brings to the bounds of all tokens.
struct Atoms {
    __m512 scale, shift, norm, error;
    __m512i number;
    __m512 wide[kWide];
    int64_t n_wide;

    Atoms(const Encoder& e, int64_t first)
        : scale(_mm512_loadu_ps(e.scale + first)),
          shift(_mm512_sub_ps(_mm512_loadu_ps(e.gate + first), _mm512_loadu_ps(e.level + first))),
          norm(_mm512_loadu_ps(e.norm + first)),
          error(_mm512_loadu_ps(e.error + first)),
          number(_mm512_add_epi32(_mm512_set1_epi32(static_cast<int32_t>(first)),
                                  _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15))),
          n_wide(e.n_wide) {
        for (int64_t i = 0; i < n_wide; ++i) wide[i] = _mm512_loadu_ps(e.wide + i * e.padded() + first);
    }
};

// Notes for one token which of the atoms stay open, without a branch: whether any does cannot be foreseen.
template <bool magnitude>
inline void bound(const Atoms& atoms, const Token& token, __m512i product, Open& open) {
    const __m512 sized = _mm512_mul_ps(_mm512_set1_ps(token.scale), atoms.scale);
    __m512 value = _mm512_fmadd_ps(_mm512_cvtepi32_ps(product), sized, atoms.shift);
    for (int64_t i = 0; i < atoms.n_wide; ++i)
        value = _mm512_fmadd_ps(_mm512_set1_ps(token.wide[i]), atoms.wide[i], value);
    if (magnitude) value = _mm512_abs_ps(value);
    const __m512 slack = _mm512_fmadd_ps(_mm512_set1_ps(token.error), atoms.norm,
                                         _mm512_mul_ps(_mm512_set1_ps(token.norm), atoms.error));
    const __m512 upper = _mm512_add_ps(value, slack);
    const __mmask16 above = _mm512_cmp_ps_mask(upper, _mm512_set1_ps(open.floor), _CMP_NLE_UQ);
    open.add(above, atoms.number, value, upper);
}

// Notes which atoms of a panel stay open for the tokens of a tile.
template <bool magnitude>
inline void bound_tile(const Encoder& e, int64_t first, const __m512i (&product)[kRows][kVectors], const Token* tokens,
                       int64_t count, Open* open) {
    for (int64_t t = 0; t < count; ++t) open[t].make_room();
    for (int v = 0; v < kVectors; ++v) {
        const Atoms atoms(e, first + v * kLanes);
        for (int64_t t = 0; t < count; ++t) bound<magnitude>(atoms, tokens[t], product[t][v], open[t]);
    }
    for (int64_t t = 0; e.k > 0 && t < count; ++t)
        if (open[t].size > open[t].limit) open[t].prune(e.k, tokens[t].margin);
}

// Whether more atoms are open than a screen is good for; what would be kept of them is memory too.
bool crowded(const Encoder& e, int64_t count, const Bench& bench) {
    int64_t open = 0;
    for (int64_t t = 0; t < count; ++t) open += bench.open[t].size;
    return e.k == 0 && open > count * e.atoms / 8;
}

// Fills bench.open for the first `count` tokens; false where that is no use.
bool screen(const Encoder& e, int64_t count, Bench& bench) {
    const int64_t tile = kRows * e.groups() * kGroup;
    for (int64_t first = 0; first < e.atoms; first += kPanel) {
        const uint8_t* panel = e.whole + first * e.groups() * kGroup;
        for (int64_t start = 0; start < count; start += kRows) {
            __m512i product[kRows][kVectors];
            multiply(panel, &bench.whole[start / kRows * tile], e.groups(), &bench.tokens[start], product);
            (e.magnitude ? bound_tile<true> : bound_tile<false>)(
                e, first, product, &bench.tokens[start], std::min(kRows, count - start), &bench.open[start]);
        }
        if (crowded(e, count, bench)) return false;
    }
    for (int64_t t = 0; e.k > 0 && t < count; ++t) bench.open[t].prune(e.k, bench.tokens[t].margin);
    return true;
}

// Lists all open pairs atom by atom: an encoder row then comes from memory once for all tokens of the block.
void sort_pairs(const Encoder& e, int64_t count, Bench& bench) {
    auto& end = bench.end_of_atom;
    std::fill(end.begin(), end.end(), 0);
    for (int64_t t = 0; t < count; ++t)
        for (size_t i = 0; i < bench.open[t].size; ++i) ++end[bench.open[t].atom[i]];
    int32_t before = 0;
    for (int32_t& place : end) before += std::exchange(place, before);
    bench.pairs.resize(before);
    for (int64_t t = 0; t < count; ++t)
        for (size_t i = 0; i < bench.open[t].size; ++i)
            bench.pairs[end[bench.open[t].atom[i]]++] = {static_cast<int32_t>(t), static_cast<int32_t>(i)};
}

// Products with one encoder row that are taken abreast: a sum alone waits for itself.
constexpr int64_t kAbreast = 4;

// The products of w with kAbreast rows of x.
inline void multiply_rows(const float* w, const float* const (&x)[kAbreast], int64_t width,
                          float (&products)[kAbreast]) {
    __m512 sum[kAbreast];
#pragma GCC unroll 4
    for (int64_t r = 0; r < kAbreast; ++r) sum[r] = _mm512_setzero_ps();
    const auto add = [&](int64_t j, __mmask16 lanes) {
        const __m512 row = _mm512_maskz_loadu_ps(lanes, w + j);
#pragma GCC unroll 4
        for (int64_t r = 0; r < kAbreast; ++r)
            sum[r] = _mm512_fmadd_ps(row, _mm512_maskz_loadu_ps(lanes, x[r] + j), sum[r]);
    };
    const int64_t whole = width / kLanes * kLanes;
    for (int64_t j = 0; j < whole; j += kLanes) add(j, 0xffff);
    if (whole < width) add(whole, lanes_before(width, whole));
#pragma GCC unroll 4
    for (int64_t r = 0; r < kAbreast; ++r) products[r] = _mm512_reduce_add_ps(sum[r]);
}

// Puts the products of all open pairs in their places.
void multiply_exactly(const Encoder& e, const float* x, Bench& bench) {
    int64_t start = 0;
    for (int64_t atom = 0; atom < e.atoms; ++atom) {
        const int64_t end = bench.end_of_atom[atom];
        for (; start < end; start += kAbreast) {
            const int64_t last = std::min(start + kAbreast, end) - 1;
            const float* rows[kAbreast];
            float products[kAbreast];
            for (int64_t r = 0; r < kAbreast; ++r)
                rows[r] = x + bench.pairs[std::min(start + r, last)].token * e.width;
            multiply_rows(e.rows + atom * e.width, rows, e.width, products);
            for (int64_t i = start; i <= last; ++i)
                bench.open[bench.pairs[i].token].value[bench.pairs[i].place] = products[i - start];
        }
        start = end;
    }
}

// Leaves the k largest codes, by the sizes in `upper`; of equal ones the lowest atoms.
void keep_largest(Open& open, size_t k, std::vector<int32_t>& order) {
    open.keep_above(std::nextafter(reached_by(open.upper.data(), open.size, k), -INFINITY));
    if (open.size == k) return;
    order.resize(open.size);
    for (size_t i = 0; i < open.size; ++i) order[i] = static_cast<int32_t>(i);
    std::nth_element(order.begin(), order.begin() + k, order.end(), [&](int32_t a, int32_t b) {
        const float left = open.upper[a], right = open.upper[b];
        return left != right ? left > right : a < b;
    });
    std::sort(order.begin(), order.begin() + k);
    for (size_t i = 0; i < k; ++i) open.atom[i] = open.atom[order[i]], open.value[i] = open.value[order[i]];
    open.size = k;
}

// The entries of an array at `places`.
inline __m512 picked(const float* array, __mmask16 lanes, __m512i places) {
    return _mm512_mask_i32gather_ps(_mm512_setzero_ps(), lanes, places, array, sizeof(float));
}

// Turns the products of a token into codes; whether none can be missing.
bool fire(const Encoder& e, Open& open, std::vector<int32_t>& order) {
    const __m512 zero = _mm512_setzero_ps();
    const size_t before = open.size, k = e.k;
    size_t above = 0;
    open.size = 0;
    for (size_t i = 0; i < before; i += kLanes) {
        const __mmask16 here = lanes_before(before, i);
        const __m512i atoms = _mm512_loadu_si512(&open.atom[i]);
        const __m512 products = _mm512_loadu_ps(&open.value[i]);
        __m512 codes = products;
        // What is not a number fires, as the largest of all: whoever reads the codes must see it.
        __mmask16 fires = _mm512_mask_cmp_ps_mask(here, products, zero, _CMP_NEQ_UQ);
        if (!e.magnitude) {
            const __m512 gated = _mm512_add_ps(products, picked(e.gate, here, atoms));
            codes = _mm512_fmadd_ps(products, picked(e.gain, here, atoms), picked(e.bias, here, atoms));
            fires = _mm512_mask_cmp_ps_mask(here, gated, picked(e.level, here, atoms), _CMP_NLE_UQ);
            fires = _mm512_mask_cmp_ps_mask(fires, codes, zero, _CMP_NLE_UQ);
        }
        const __mmask16 unknown = _mm512_cmp_ps_mask(codes, codes, _CMP_UNORD_Q);
        const __m512 sizes = _mm512_mask_mov_ps(_mm512_abs_ps(codes), unknown, _mm512_set1_ps(INFINITY));
        above += __builtin_popcount(_mm512_mask_cmp_ps_mask(fires, sizes, _mm512_set1_ps(open.floor), _CMP_GT_OQ));
        open.add(fires, atoms, codes, sizes);
    }
    if (k == 0) return true;
    if (open.size > k) keep_largest(open, k, order);
    return open.floor == 0 || above >= k;
}

// Turns what is open for the first `count` tokens into codes; the tokens where some may be missing.
std::vector<int64_t> fire_all(const Encoder& e, const float* x, int64_t count, Bench& bench) {
    sort_pairs(e, count, bench);
    multiply_exactly(e, x, bench);
    std::vector<int64_t> unsure;
    for (int64_t t = 0; t < count; ++t)
        if (!fire(e, bench.open[t], bench.order)) unsure.push_back(t);
    return unsure;
}

// Encodes the `unsure` tokens once more, on the safe side.
void encode_again(const Encoder& e, const float* x, const std::vector<int64_t>& unsure, Bench& bench) {
    std::vector<float> rows(unsure.size() * e.width);
    for (size_t i = 0; i < unsure.size(); ++i) std::copy_n(x + unsure[i] * e.width, e.width, &rows[i * e.width]);
    second_bench.fit(e);
    load(e, rows.data(), unsure.size(), true, second_bench);
    screen(e, unsure.size(), second_bench);
    fire_all(e, rows.data(), unsure.size(), second_bench);
    for (size_t i = 0; i < unsure.size(); ++i) std::swap(bench.open[unsure[i]], second_bench.open[i]);
}

// Fills bench.open with the codes of `count` tokens, at most a block; false where they are too many or x is not finite.
bool encode(const Encoder& e, const float* x, int64_t count, Bench& bench) {
    if (!load(e, x, count, false, bench) || !screen(e, count, bench)) return false;
    const auto unsure = fire_all(e, x, count, bench);
    if (!unsure.empty()) encode_again(e, x, unsure, bench);
    return true;
}

}  // namespace

// Finds the codes of `tokens` rows of x, and counts those of each row; how many in all, or -1 where they are more than
// `most` or x is not finite. They wait for `take_codes` from the same thread.
extern "C" int64_t find_codes(
    const uint8_t* whole, const float* rows, const float* scale, const float* norm, const float* error,
    const float* gate, const float* level, const float* gain, const float* bias, const float* wide,
    const int64_t* wide_inputs, const float* x, int32_t* counts, int64_t atoms, int64_t width, int64_t n_wide, int64_t k,
    int64_t tokens, int64_t most, int32_t magnitude) {
    const Encoder e{whole, rows, scale, norm, error, gate, level, gain, bias, atoms, width, k, wide, wide_inputs, n_wide,
                    magnitude, *std::max_element(norm, norm + atoms), *std::max_element(error, error + atoms)};
    Bench& bench = first_bench;
    bench.fit(e);
    found_latents.clear(), found_codes.clear();
    for (int64_t block = 0; block < tokens; block += kBlock) {
        const int64_t count = std::min(kBlock, tokens - block);
        if (!encode(e, x + block * width, count, bench)) return -1;
        for (int64_t t = 0; t < count; ++t) {
            const Open& open = bench.open[t];
            counts[block + t] = static_cast<int32_t>(open.size);
            found_latents.insert(found_latents.end(), open.atom.begin(), open.atom.begin() + open.size);
            found_codes.insert(found_codes.end(), open.value.begin(), open.value.begin() + open.size);
        }
        if (static_cast<int64_t>(found_codes.size()) > most) return -1;
    }
    return found_codes.size();
}

// Copies what the last `find_codes` of this thread found.
extern "C" void take_codes(int32_t* latents, float* codes) {
    std::copy(found_latents.begin(), found_latents.end(), latents);
    std::copy(found_codes.begin(), found_codes.end(), codes);
}

// Adds the codes of each token to its row of `sums`.
extern "C" void add_codes(const int64_t* counts, const int32_t* latents, const float* codes, const int64_t* rows,
                          float* sums, int64_t tokens, int64_t atoms) {
    for (int64_t t = 0; t < tokens; ++t) {
        float* own = sums + rows[t] * atoms;
        for (const int32_t* end = latents + counts[t]; latents < end; ++latents, ++codes) own[*latents] += *codes;
    }
}
#endif
