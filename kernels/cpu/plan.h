// What attention of a step is given: the plan, the same for all layers, and one layer's tensors.
#pragma once

#include <cstdint>

struct Plan {  // as kernels/plan.py; block b is rows [block_row[b], block_row[b + 1]) and its nodes, parents first
    int32_t num_rows, page_size, num_blocks, num_threads;
    const int32_t *row_position, *row_slot, *node_lo, *node_hi, *node_start, *node_tokens, *node_offset;
    const int32_t *node_page, *pages;
    const int32_t *block_row, *block_node, *nodes;
};

struct Layer {  // strides in elements; a head's elements adjoin
    const void *q, *k, *v;              // [N, Hq, D], [N, Hkv, D]; k and v null: they are stored already
    void *keys, *values;                // pools [slots, Hkv, D]
    void *out;                          // [N, Hq, D], contiguous
    float *lse;                         // [N, Hq] or null
    const void *cos, *sin;              // [N, D], rotate q and k; null: they are rotated already
    const float *sinks;                 // [Hq] or null
    const uint8_t *wanted;              // [N], rows whose result is read; null: all
    int64_t q_row, q_head, k_row, k_head, v_row, v_head, keys_slot, keys_head, values_slot, values_head, angle_row;
    int32_t num_heads, num_kv_heads, head_dim, window;  // window 0: none
    float scale, softcap;                               // softcap 0: none
};
