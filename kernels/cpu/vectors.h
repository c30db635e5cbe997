// Vectors of the processor's width by the compiler's own vector types, and what is computed on them.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
constexpr int LANES = 16;
#elif defined(__AVX2__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif

constexpr float LOG2E = 1.4426950408889634f;

typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef int32_t Ints __attribute__((vector_size(4 * LANES)));
typedef uint32_t Words __attribute__((vector_size(4 * LANES)));
typedef uint16_t Halves __attribute__((vector_size(2 * LANES)));

struct Lane {
    int32_t number[LANES];
    constexpr Lane() : number{} {
        for (int i = 0; i < LANES; i++) number[i] = i;
    }
};
static constexpr Lane LANE;

template <class V, class P>
static inline V load(const P *from) {
    V value;
    memcpy(&value, from, sizeof value);
    return value;
}
template <class V, class P>
static inline void store(P *to, V value) {
    memcpy(to, &value, sizeof value);
}
static inline Floats all(float x) { return x - Floats{}; }
static inline Floats larger(Floats a, Floats b) { return a < b ? b : a; }
static inline Halves rounded(Floats x) {  // to bfloat16, nearest even
#ifdef __AVX512BF16__
    return (Halves)_mm512_cvtneps_pbh((__m512)x);
#else
    Words bits = load<Words>(&x);
    Words near = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    return __builtin_convertvector((Words)(x == x) ? near : ((bits >> 16) | 64), Halves);
#endif
}

static inline Floats hidden(Floats x, int from, int to) {  // lanes outside [from, to) become -inf
    const Ints lane = load<Ints>(LANE.number);
    return (lane >= from) & (lane < to) ? x : all(-INFINITY);
}

static inline Floats read(const float *from) { return load<Floats>(from); }
static inline Floats read(const uint16_t *from) {
    Words bits = __builtin_convertvector(load<Halves>(from), Words) << 16;
    return load<Floats>(&bits);
}
static inline void write(float *to, Floats x) { store(to, x); }
static inline void write(uint16_t *to, Floats x) { store(to, rounded(x)); }

// 2^(x * factor - base), 0 from 2^-127 down, NaN for NaN; relative error below 3e-7 with five terms, 2e-4 with three.
// Its digits are those of 2^(x * factor), whatever base is. factor > 0; |base| below 2^21; the result below 2^128.
template <int TERMS>
static inline Floats exp2_of(Floats x, float factor = 1, int base = 0) {
    const Floats lowest = all(-4e6f / factor);
    x = x < lowest ? lowest : x;
    const Floats magic = all(12582912.f);  // 1.5 * 2^23: adding it rounds to a whole number, in the lowest bits
    const Floats shifted = x * factor + magic;
    Floats f = x * factor - (shifted - magic), p;
    if constexpr (TERMS == 5) {
        p = all(1.326467790e-03f);
        p = p * f + 9.671502285e-03f;
        p = p * f + 5.550733768e-02f;
        p = p * f + 2.402224225e-01f;
        p = p * f + 6.931469777e-01f;
    } else {
        p = all(5.500834161e-02f);
        p = p * f + 2.422097839e-01f;
        p = p * f + 6.932828614e-01f;
    }
    p = p * f + 1.f;
    Ints power = load<Ints>(&shifted) - (0x4b400000 - 127 + base);  // bits of magic are 0x4b400000
    power = (power < 0 ? 0 : power) << 23;
    return p * load<Floats>(&power);
}
template <class F>
static inline float reduce(Floats x, F combine) {
#pragma GCC unroll 4
    for (int half = LANES / 2; half; half /= 2) x = combine(x, __builtin_shuffle(x, load<Ints>(LANE.number) ^ half));
    return x[0];
}

