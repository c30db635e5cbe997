// The compiled functions that others of them call; what they mean stands where they are defined.
#pragma once

#include <cstdint>

struct Plan;
struct Layer;

extern "C" {
void tree_attention_float32(const Plan *plan, const Layer *layer);
void tree_attention_bfloat16(const Plan *plan, const Layer *layer);
void linear_float32(const float *x, const uint32_t *packed, const float *bias, float *out, int64_t num_rows,
                    int64_t num_outputs, int64_t num_inputs, int num_threads);
void linear_bfloat16(const uint16_t *x, const uint32_t *packed, const uint16_t *bias, uint16_t *out, int64_t num_rows,
                     int64_t num_outputs, int64_t num_inputs, int num_threads);
void rms_norm_float32(const float *x, const float *residual, const float *weight, float *total, float *out,
                      int64_t num_rows, int64_t columns, float eps, float more, int late, int num_threads);
void rms_norm_bfloat16(const uint16_t *x, const uint16_t *residual, const uint16_t *weight, uint16_t *total,
                       uint16_t *out, int64_t num_rows, int64_t columns, float eps, float more, int late,
                       int num_threads);
void silu_mul_float32(const float *gate, const float *up, float *out, int64_t num_rows, int64_t columns, int64_t stride,
                      int num_threads);
void silu_mul_bfloat16(const uint16_t *gate, const uint16_t *up, uint16_t *out, int64_t num_rows, int64_t columns,
                       int64_t stride, int num_threads);
void add_float32(const float *a, const float *b, float *out, int64_t size);
void add_bfloat16(const uint16_t *a, const uint16_t *b, uint16_t *out, int64_t size);
}
