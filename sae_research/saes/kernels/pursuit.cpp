// Pursuit on correlations. matching_pursuit: one pass per step takes a Gram row off them and finds their next
// maximum. strongest: the k largest of each token, marked in its sequence.
//
// Plain C interface; compiled and loaded by native.py, which holds the digest of this file. Each token is worked on by one thread alone, so results depend neither on the
// number of threads nor on the other tokens. Threads are std::thread: torch has an OpenMP runtime of its own.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <thread>
#include <vector>

namespace {

// Entries whose maximum is kept together: the place of the overall maximum is then sought in one block only.
constexpr int64_t kBlock = 256;
// Tokens that a thread works on in turn: while one is updated, the Gram row of the next is on its way from memory.
constexpr int64_t kLanes = 4;
constexpr int64_t kFloatsPerLine = 16;

struct Token {
    float* correlations;
    float* codes;
    const float* row = nullptr;  // Gram row of the atom just taken, nullptr before the first step
    float value = 0;             // what was taken of it
    std::vector<float> maxima;   // of each block
};

template <bool nonneg>
float magnitude(float correlation) {
    return nonneg ? correlation : std::fabs(correlation);
}

// correlations -= value * row, each block's largest magnitude noted; fetches `next` along the way.
template <bool nonneg>
void update(Token& token, int64_t atoms, const float* next) {
    float* __restrict c = token.correlations;
    const float* __restrict row = token.row;
    const float value = token.value;
    for (int64_t start = 0, block = 0; start < atoms; start += kBlock, ++block) {
        const int64_t end = start + kBlock < atoms ? start + kBlock : atoms;
        if (next) {
            for (int64_t i = start; i < end; i += kFloatsPerLine) __builtin_prefetch(next + i, 0, 2);
        }
        float largest = 0;
        if (row) {
#pragma omp simd reduction(max : largest)
            for (int64_t i = start; i < end; ++i) {
                c[i] -= value * row[i];
                const float size = magnitude<nonneg>(c[i]);
                largest = size > largest ? size : largest;
            }
        } else {
#pragma omp simd reduction(max : largest)
            for (int64_t i = start; i < end; ++i) {
                const float size = magnitude<nonneg>(c[i]);
                largest = size > largest ? size : largest;
            }
        }
        token.maxima[block] = largest;
    }
}

// The lowest index of the largest magnitude; 0 where none is above 0 (or all are NaN).
template <bool nonneg>
int64_t best(const Token& token, int64_t atoms) {
    size_t block = 0;
    for (size_t b = 1; b < token.maxima.size(); ++b) {
        if (token.maxima[b] > token.maxima[block]) block = b;
    }
    const float largest = token.maxima[block];
    const float* c = token.correlations + block * kBlock;
    const int32_t count = static_cast<int32_t>(std::min<int64_t>(kBlock, atoms - block * kBlock));
    int32_t found = count;
#pragma omp simd reduction(min : found)
    for (int32_t i = 0; i < count; ++i) {
        const int32_t here = magnitude<nonneg>(c[i]) == largest ? i : count;
        found = here < found ? here : found;
    }
    return found < count ? block * kBlock + found : 0;
}

// Takes the best atom of `token`.
template <bool nonneg>
void take(Token& token, const float* gram, int64_t atoms) {
    const int64_t atom = best<nonneg>(token, atoms);
    const float found = token.correlations[atom];
    token.value = nonneg && found < 0 ? 0 : found;
    token.codes[atom] += token.value;
    token.row = gram + atom * atoms;
}

template <bool nonneg>
void pursue(const float* gram, float* correlations, float* codes, int64_t first, int64_t last, int64_t atoms,
            int64_t steps) {
    Token tokens[kLanes];
    const int64_t lanes = last - first;
    for (int64_t lane = 0; lane < lanes; ++lane) {
        tokens[lane].correlations = correlations + (first + lane) * atoms;
        tokens[lane].codes = codes + (first + lane) * atoms;
        tokens[lane].maxima.resize((atoms + kBlock - 1) / kBlock);
    }
    for (int64_t step = 0; step < steps; ++step) {
        for (int64_t lane = 0; lane < lanes; ++lane) {
            update<nonneg>(tokens[lane], atoms, tokens[(lane + 1) % lanes].row);
            take<nonneg>(tokens[lane], gram, atoms);
        }
    }
}

// The k largest magnitudes so far, largest first, of equal ones the lowest index first.
struct Largest {
    std::vector<float> sizes;
    std::vector<int64_t> atoms;

    explicit Largest(int64_t k) : sizes(k), atoms(k) {}

    void clear() {
        std::fill(sizes.begin(), sizes.end(), 0.0f);
        std::fill(atoms.begin(), atoms.end(), -1);
    }

    void insert(float size, int64_t atom) {
        size_t place = sizes.size() - 1;
        for (; place > 0 && sizes[place - 1] < size; --place) {
            sizes[place] = sizes[place - 1];
            atoms[place] = atoms[place - 1];
        }
        sizes[place] = size;
        atoms[place] = atom;
    }
};

template <bool nonneg>
void mark(const float* c, int64_t atoms, Largest& largest, uint8_t* chosen) {
    largest.clear();
    for (int64_t start = 0; start < atoms; start += kFloatsPerLine) {
        const int64_t end = start + kFloatsPerLine < atoms ? start + kFloatsPerLine : atoms;
        float most = 0;
#pragma omp simd reduction(max : most)
        for (int64_t i = start; i < end; ++i) {
            const float size = magnitude<nonneg>(c[i]);
            most = size > most ? size : most;
        }
        if (!(most > largest.sizes.back())) continue;
        for (int64_t i = start; i < end; ++i) {
            if (magnitude<nonneg>(c[i]) > largest.sizes.back()) largest.insert(magnitude<nonneg>(c[i]), i);
        }
    }
    for (int64_t atom : largest.atoms) {
        if (atom >= 0) chosen[atom] = 1;
    }
}

// Calls work(first) for first = 0, each, 2 each, ... below count, on so many threads.
template <typename Work>
void in_parallel(int64_t count, int64_t each, int32_t threads, Work work) {
    std::atomic<int64_t> next{0};
    auto run = [&] {
        for (int64_t first; (first = next.fetch_add(each)) < count;) work(first);
    };
    std::vector<std::thread> others;
    for (int64_t i = 1; i < threads && i * each < count; ++i) others.emplace_back(run);
    run();
    for (auto& thread : others) thread.join();
}

}  // namespace

extern "C" void matching_pursuit(const float* gram, float* correlations, float* codes, int64_t tokens, int64_t atoms,
                                 int64_t steps, int32_t nonneg, int32_t threads) {
    in_parallel(tokens, kLanes, threads, [&](int64_t first) {
        const int64_t last = std::min(first + kLanes, tokens);
        (nonneg ? pursue<true> : pursue<false>)(gram, correlations, codes, first, last, atoms, steps);
    });
}

extern "C" void strongest(const float* correlations, uint8_t* chosen, int64_t sequences, int64_t tokens, int64_t atoms,
                          int64_t k, int32_t nonneg, int32_t threads) {
    in_parallel(sequences, 1, threads, [&](int64_t sequence) {
        Largest largest(k);
        for (int64_t token = 0; token < tokens; ++token) {
            const float* c = correlations + (sequence * tokens + token) * atoms;
            (nonneg ? mark<true> : mark<false>)(c, atoms, largest, chosen + sequence * atoms);
        }
    });
}
