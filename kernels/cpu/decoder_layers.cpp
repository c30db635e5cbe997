// Decoder layers: norm, attention, norm, gated network, and both sums of each. Called by compiled_backend.py.
//
// Between calls from Python threads fall asleep; all layers of a step are one call.

#include <cstring>
#include <vector>

#include "functions.h"
#include "plan.h"

struct Weights {  // of one layer; matrices packed by linear.cpp, q, k and v in one, gate and up in one; biases or null
    const void *first_norm, *second_norm, *qkv_bias, *out_bias, *gate_up_bias, *down_bias;
    const uint32_t *qkv, *out, *gate_up, *down;
    int64_t width, inner_width;
    float first_eps, second_eps, first_more, second_more;
    int32_t first_late, second_late;
};

template <class T>
struct Functions;
template <>
struct Functions<float> {
    static constexpr auto attend = tree_attention_float32;
    static constexpr auto multiply = linear_float32;
    static constexpr auto norm = rms_norm_float32;
    static constexpr auto gate = silu_mul_float32;
    static constexpr auto sum = add_float32;
};
template <>
struct Functions<uint16_t> {
    static constexpr auto attend = tree_attention_bfloat16;
    static constexpr auto multiply = linear_bfloat16;
    static constexpr auto norm = rms_norm_bfloat16;
    static constexpr auto gate = silu_mul_bfloat16;
    static constexpr auto sum = add_bfloat16;
};

// Moves the wanted rows to the front; returns their number.
template <class T>
static int64_t gather(const uint8_t *wanted, int64_t num_rows, int64_t width, T *rows) {
    int64_t num = 0;
    for (int64_t row = 0; row < num_rows; row++)
        if (wanted[row]) memmove(rows + num++ * width, rows + row * width, width * sizeof(T));
    return num;
}

// x, out: [rows, width], out may be x. layer: of attention; its q, k, v and out are set here. Rows that are not wanted
// store their keys and values and do no more: their part of out is not written.
template <class T>
static void decode(const Plan *plan, Layer layer, const Weights *weights, const T *x, T *out) {
    using F = Functions<T>;
    static thread_local std::vector<T> normed, total, qkv, attended, projected, gates, gated, kept;
    const Weights &w = *weights;
    int64_t rows = plan->num_rows;
    const int64_t head = layer.head_dim;
    const int64_t q_width = layer.num_heads * head, kv_width = layer.num_kv_heads * head;
    const int threads = plan->num_threads;
    normed.resize(rows * w.width), total.resize(rows * w.width), projected.resize(rows * w.width);
    qkv.resize(rows * (q_width + 2 * kv_width)), attended.resize(rows * q_width);
    gates.resize(rows * 2 * w.inner_width), gated.resize(rows * w.inner_width);

    F::norm(x, nullptr, (const T *)w.first_norm, nullptr, normed.data(), rows, w.width, w.first_eps, w.first_more,
            w.first_late, threads);
    F::multiply(normed.data(), w.qkv, (const T *)w.qkv_bias, qkv.data(), rows, q_width + 2 * kv_width, w.width, threads);
    layer.q = qkv.data(), layer.k = qkv.data() + q_width, layer.v = qkv.data() + q_width + kv_width;
    layer.q_row = layer.k_row = layer.v_row = q_width + 2 * kv_width;
    layer.q_head = layer.k_head = layer.v_head = head;
    layer.out = attended.data();
    F::attend(plan, &layer);
    if (layer.wanted) {
        kept.assign(x, x + rows * w.width);
        gather(layer.wanted, rows, q_width, attended.data());
        rows = gather(layer.wanted, rows, w.width, kept.data());
        x = kept.data();
    }
    F::multiply(attended.data(), w.out, (const T *)w.out_bias, projected.data(), rows, w.width, q_width, threads);
    F::norm(projected.data(), x, (const T *)w.second_norm, total.data(), normed.data(), rows, w.width, w.second_eps,
            w.second_more, w.second_late, threads);
    F::multiply(normed.data(), w.gate_up, (const T *)w.gate_up_bias, gates.data(), rows, 2 * w.inner_width, w.width,
                threads);
    F::gate(gates.data(), gates.data() + w.inner_width, gated.data(), rows, w.inner_width, 2 * w.inner_width, threads);
    F::multiply(gated.data(), w.down, (const T *)w.down_bias, projected.data(), rows, w.width, w.inner_width, threads);
    F::sum(total.data(), projected.data(), layer.wanted ? kept.data() : out, rows * w.width);
    if (layer.wanted)
        for (int64_t row = 0, next = 0; row < plan->num_rows; row++)
            if (layer.wanted[row]) memcpy(out + row * w.width, &kept[next++ * w.width], w.width * sizeof(T));
}

template <class T>
static void decode_all(const Plan *plan, const Layer *layers, const Weights *const *weights, int64_t num_layers,
                       const T *x, T *out) {
    for (int64_t i = 0; i < num_layers; i++) decode(plan, layers[i], weights[i], i ? out : x, out);
}

extern "C" {
void decoder_layers_float32(const Plan *plan, const Layer *layers, const Weights *const *weights, int64_t num_layers,
                            const float *x, float *out) {
    decode_all(plan, layers, weights, num_layers, x, out);
}
void decoder_layers_bfloat16(const Plan *plan, const Layer *layers, const Weights *const *weights, int64_t num_layers,
                             const uint16_t *x, uint16_t *out) {
    decode_all(plan, layers, weights, num_layers, x, out);
}
}
