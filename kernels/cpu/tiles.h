// Products in register tiles of one shape: 32-bit words of several rows, each broadcast, times packed vectors of words.
//
// A word is a float, or a pair of bfloat16 where the processor multiplies pairs; sums are float.
#pragma once

#include <algorithm>

#include "vectors.h"

constexpr int GROUP = LANES == 8 ? 3 : 6;  // rows of a register tile: AVX2 has half as many registers
constexpr int VECTORS = 4;               // of a register tile; GROUP * VECTORS accumulators fit the registers
constexpr int WIDTH = VECTORS * LANES;

// How elements of T become words: one a word (STEP 1), or two where the processor multiplies pairs (STEP 2).
template <class T>
struct Packing {
    static constexpr int STEP = 1;
    static inline Floats multiply_add(Floats sum, Words a, Words b) { return load<Floats>(&a) * load<Floats>(&b) + sum; }
    static inline Words elements(const T *from) {
        Floats x = read(from);
        return load<Words>(&x);
    }
    static inline Words of_tokens(const T *row, const T *) { return elements(row); }
};
#ifdef __AVX512BF16__
template <>
struct Packing<uint16_t> {
    static constexpr int STEP = 2;
    static inline Floats multiply_add(Floats sum, Words a, Words b) {
        return (Floats)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
    }
    static inline Words elements(const uint16_t *from) { return load<Words>(from); }
    static inline Words of_tokens(const uint16_t *even, const uint16_t *odd) {
        Words low = __builtin_convertvector(load<Halves>(even), Words);
        return odd ? low | (__builtin_convertvector(load<Halves>(odd), Words) << 16) : low;
    }
};
#endif

static inline uint32_t word(const float *from) { return load<uint32_t>(from); }
static inline uint32_t word(const uint16_t *from) {
    return Packing<uint16_t>::STEP == 2 ? load<uint32_t>(from) : uint32_t(*from) << 16;
}

// sum[g][v] += a[g][k] * b[k][v], over k; a: words of GROUP rows, b: packed vectors. Of `shrink`, sum is scaled first.
// ahead: what is read soon, or null; a line of it is fetched with each k, so that no burst of them fills the queue.
template <class T, int Q, int V>
static inline void tile(float *sum, int64_t sum_row, const uint32_t *a, int64_t a_row, const uint32_t *b, int64_t b_row,
                        int depth, const float *shrink, const char *ahead) {
    Floats acc[Q][V];
#pragma GCC unroll 8
    for (int g = 0; g < Q; g++)
#pragma GCC unroll 8
        for (int v = 0; v < V; v++) acc[g][v] = shrink ? read(sum + g * sum_row + v * LANES) * shrink[g] : Floats{};
    for (int k = 0; k < depth; k++) {
        if (ahead) __builtin_prefetch(ahead + k * 64);
        Words vectors[V];
#pragma GCC unroll 8
        for (int v = 0; v < V; v++) vectors[v] = load<Words>(b + k * b_row + v * LANES);
#pragma GCC unroll 8
        for (int g = 0; g < Q; g++) {
            Words one = a[g * a_row + k] - Words{};
#pragma GCC unroll 8
            for (int v = 0; v < V; v++) acc[g][v] = Packing<T>::multiply_add(acc[g][v], one, vectors[v]);
        }
    }
#pragma GCC unroll 8
    for (int g = 0; g < Q; g++)
#pragma GCC unroll 8
        for (int v = 0; v < V; v++) write(sum + g * sum_row + v * LANES, acc[g][v]);
}

template <class T, int Q>
static void columns(float *sum, int64_t sum_row, const uint32_t *a, int64_t a_row, const uint32_t *b, int64_t b_row,
                    int depth, int num_vectors, const float *shrink, const char *ahead = nullptr) {
    for (int v = 0; v < num_vectors; v += VECTORS) {
        float *to = sum + v * LANES;
        const uint32_t *from = b + v * LANES;
        switch (std::min(VECTORS, num_vectors - v)) {
            case 1: tile<T, Q, 1>(to, sum_row, a, a_row, from, b_row, depth, shrink, ahead); break;
            case 2: tile<T, Q, 2>(to, sum_row, a, a_row, from, b_row, depth, shrink, ahead); break;
            case 3: tile<T, Q, 3>(to, sum_row, a, a_row, from, b_row, depth, shrink, ahead); break;
            default: tile<T, Q, 4>(to, sum_row, a, a_row, from, b_row, depth, shrink, ahead);
        }
    }
}

template <class T, class... Args>
static inline void multiply(int num, Args... args) {
    static_assert(GROUP <= 6, "a case for every number of rows");
    switch (num) {
        case 1: return columns<T, 1>(args...);
        case 2: return columns<T, 2>(args...);
        case 3: return columns<T, 3>(args...);
        case 4: return columns<T, 4>(args...);
        case 5: return columns<T, 5>(args...);
        default: return columns<T, 6>(args...);
    }
}
