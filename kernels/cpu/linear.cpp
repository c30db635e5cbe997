// Linear layers of few rows: weights packed in panels of WIDTH outputs, each read once for all rows. Called by linear.py.
//
// A row's sums run over the inputs in one order, whatever other rows there are: its bits depend on nothing else.

#include <vector>

#include "functions.h"
#include "tiles.h"

constexpr int64_t DEPTH = 1024;  // words of a panel's block: it stays in the second cache

// Panel p holds outputs [p * WIDTH, (p + 1) * WIDTH) as [inputs / STEP, WIDTH] words, zeros where there are none.
template <class T>
static void pack(const T *weight, int64_t num_outputs, int64_t num_inputs, uint32_t *packed) {
    constexpr int STEP = Packing<T>::STEP;
    const int64_t depth = num_inputs / STEP, num_panels = (num_outputs + WIDTH - 1) / WIDTH;
#pragma omp parallel for schedule(static)
    for (int64_t panel = 0; panel < num_panels; panel++)
        for (int64_t k = 0; k < depth; k++)
            for (int w = 0; w < WIDTH; w++) {
                const int64_t output = panel * WIDTH + w;
                packed[(panel * depth + k) * WIDTH + w] =
                    output < num_outputs ? word(weight + output * num_inputs + k * STEP) : 0;
            }
}

// out [rows, outputs] = x [rows, inputs] times the packed weight, plus the bias where there is one.
template <class T>
static void linear(const T *x, const uint32_t *packed, const T *bias, T *out, int64_t num_rows, int64_t num_outputs,
                   int64_t num_inputs, int num_threads) {
    const int64_t depth = num_inputs / Packing<T>::STEP, num_panels = (num_outputs + WIDTH - 1) / WIDTH;
    const int64_t num_groups = (num_rows + GROUP - 1) / GROUP;
    float ones[GROUP];
    std::fill(ones, ones + GROUP, 1.f);
    const uint32_t *words = (const uint32_t *)x;
    std::vector<uint32_t> widened;
    if constexpr (Packing<T>::STEP * sizeof(T) < sizeof(uint32_t)) {  // bfloat16 that is not multiplied in pairs
        widened.resize(num_rows * num_inputs);
        for (size_t i = 0; i < widened.size(); i++) widened[i] = word(x + i);
        words = widened.data();
    }
#pragma omp parallel num_threads(num_threads)
    {
        static thread_local std::vector<float> sums;
        sums.resize(num_rows * WIDTH);
#pragma omp for schedule(dynamic, 1)
        for (int64_t panel = 0; panel < num_panels; panel++) {
            for (int64_t first = 0; first < depth; first += DEPTH) {
                const int64_t length = std::min(DEPTH, depth - first);  // of this block; its lines follow one another
                const uint32_t *block = packed + (panel * depth + first) * WIDTH;
                const bool last = first + length == depth;  // then this thread's next block is likely a later panel's
                const char *next = (const char *)(block + (last ? (num_threads - 1) * depth + length : length) * WIDTH);
                for (int64_t group = 0; group < num_groups; group++) {
                    const int64_t row = group * num_rows / num_groups, end = (group + 1) * num_rows / num_groups;
                    const char *ahead = next + group * length * 64;
                    if (group >= VECTORS || ahead >= (const char *)(packed + num_panels * depth * WIDTH)) ahead = nullptr;
                    multiply<T>(int(end - row), &sums[row * WIDTH], int64_t(WIDTH),
                                words + row * depth + first, depth, block, int64_t(WIDTH), int(length), VECTORS,
                                first ? ones : (const float *)nullptr, ahead);
                }
            }
            const int64_t output = panel * WIDTH, width = std::min<int64_t>(WIDTH, num_outputs - output);
            T offset[WIDTH] = {}, rounded_sums[WIDTH];
            if (bias) memcpy(offset, bias + output, width * sizeof(T));
            for (int64_t row = 0; row < num_rows; row++) {
                for (int w = 0; w < WIDTH; w += LANES)
                    write(rounded_sums + w, read(&sums[row * WIDTH + w]) + read(offset + w));
                memcpy(out + row * num_outputs + output, rounded_sums, width * sizeof(T));
            }
        }
    }
}

template <class T>
static int64_t packed_words(int64_t num_outputs, int64_t num_inputs) {
    return (num_outputs + WIDTH - 1) / WIDTH * WIDTH * (num_inputs / Packing<T>::STEP);
}

extern "C" {
void packed_words_float32(int64_t num_outputs, int64_t num_inputs, int64_t *words) {
    *words = packed_words<float>(num_outputs, num_inputs);
}
void packed_words_bfloat16(int64_t num_outputs, int64_t num_inputs, int64_t *words) {
    *words = packed_words<uint16_t>(num_outputs, num_inputs);
}
void pack_float32(const float *weight, int64_t num_outputs, int64_t num_inputs, uint32_t *packed) {
    pack(weight, num_outputs, num_inputs, packed);
}
void pack_bfloat16(const uint16_t *weight, int64_t num_outputs, int64_t num_inputs, uint32_t *packed) {
    pack(weight, num_outputs, num_inputs, packed);
}
void linear_float32(const float *x, const uint32_t *packed, const float *bias, float *out, int64_t num_rows,
                    int64_t num_outputs, int64_t num_inputs, int num_threads) {
    linear(x, packed, bias, out, num_rows, num_outputs, num_inputs, num_threads);
}
void linear_bfloat16(const uint16_t *x, const uint32_t *packed, const uint16_t *bias, uint16_t *out, int64_t num_rows,
                     int64_t num_outputs, int64_t num_inputs, int num_threads) {
    linear(x, packed, bias, out, num_rows, num_outputs, num_inputs, num_threads);
}
}
