// What lies between the linear layers of a model, row by row: norms and gates. Called by fused.py.

#include "functions.h"
#include "vectors.h"

constexpr int64_t PARALLEL = 1 << 15;  // numbers below which one thread is as quick

static inline Floats stored(Floats x, const float *) { return x; }
static inline Floats stored(Floats x, const uint16_t *) {
    Halves half = rounded(x);
    return read((const uint16_t *)&half);
}

// out = x / rms(x) * weight, each [rows, columns] contiguous; with a residual it is added first, and total is the sum.
// Zhang and Sennrich, arXiv 1910.07467. late: the product is rounded once; otherwise its factor first. more: added to
// the weight. columns: a multiple of LANES.
template <class T>
static void rms_norm(const T *x, const T *residual, const T *weight, T *total, T *out, int64_t num_rows, int64_t columns,
                     float eps, float more, int late, int num_threads) {
#pragma omp parallel for num_threads(num_threads) if (num_rows * columns > PARALLEL)
    for (int64_t row = 0; row < num_rows; row++) {
        const T *from = (residual ? total : x) + row * columns;
        T *to = out + row * columns;
        Floats squares{};
        for (int64_t c = 0; c < columns; c += LANES) {
            const int64_t at = row * columns + c;
            if (residual) write(total + at, read(x + at) + read(residual + at));
            Floats value = read(from + c);
            squares += value * value;
        }
        const float mean = reduce(squares, [](Floats a, Floats b) { return a + b; }) / float(columns);
        const float factor = 1.f / std::sqrt(mean + eps);
        for (int64_t c = 0; c < columns; c += LANES) {
            Floats normed = read(from + c) * factor;
            write(to + c, (late ? normed : stored(normed, x)) * (read(weight + c) + more));
        }
    }
}

// out = silu(gate) * up (Shazeer, arXiv 2002.05202), [rows, columns]; rows of gate and up lie `stride` apart.
template <class T>
static void silu_mul(const T *gate, const T *up, T *out, int64_t num_rows, int64_t columns, int64_t stride,
                     int num_threads) {
#pragma omp parallel for num_threads(num_threads) if (num_rows * columns > PARALLEL)
    for (int64_t row = 0; row < num_rows; row++)
        for (int64_t c = 0; c < columns; c += LANES) {
            Floats x = read(gate + row * stride + c), away = x * -LOG2E;
            away = away > all(126.f) ? all(126.f) : away;
            Floats gated = stored(x / (1.f + exp2_of<5>(away)), gate);
            write(out + row * columns + c, gated * read(up + row * stride + c));
        }
}

// size: a multiple of LANES.
template <class T>
static void add(const T *a, const T *b, T *out, int64_t size) {
    for (int64_t i = 0; i < size; i += LANES) write(out + i, read(a + i) + read(b + i));
}

extern "C" {
void add_float32(const float *a, const float *b, float *out, int64_t size) { add(a, b, out, size); }
void add_bfloat16(const uint16_t *a, const uint16_t *b, uint16_t *out, int64_t size) { add(a, b, out, size); }
void rms_norm_float32(const float *x, const float *residual, const float *weight, float *total, float *out,
                      int64_t num_rows, int64_t columns, float eps, float more, int late, int num_threads) {
    rms_norm(x, residual, weight, total, out, num_rows, columns, eps, more, late, num_threads);
}
void rms_norm_bfloat16(const uint16_t *x, const uint16_t *residual, const uint16_t *weight, uint16_t *total,
                       uint16_t *out, int64_t num_rows, int64_t columns, float eps, float more, int late, int num_threads) {
    rms_norm(x, residual, weight, total, out, num_rows, columns, eps, more, late, num_threads);
}
void silu_mul_float32(const float *gate, const float *up, float *out, int64_t num_rows, int64_t columns,
                      int64_t stride, int num_threads) {
    silu_mul(gate, up, out, num_rows, columns, stride, num_threads);
}
void silu_mul_bfloat16(const uint16_t *gate, const uint16_t *up, uint16_t *out, int64_t num_rows, int64_t columns,
                       int64_t stride, int num_threads) {
    silu_mul(gate, up, out, num_rows, columns, stride, num_threads);
}
}
