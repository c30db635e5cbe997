// Tree attention on a CPU: a block of rows walks the nodes of its rows' paths once, with a running maximum.
//
// FlashAttention's online softmax (arXiv 2205.14135) over the nodes of DeFT's plan (arXiv 2404.00242). Keys and values
// of a block of tokens are packed once for all rows that read them. Called by compiled_backend.py.

#include <vector>

#include "functions.h"
#include "plan.h"
#include "tiles.h"

constexpr int TOKENS = WIDTH;  // attended at a time
constexpr float LN2 = 0.6931471805599453f;
constexpr float LOWEST = -1e30f;  // of running maxima: finite, so that a difference is never NaN
constexpr float SLACK = 8;        // a maximum moves only when it is passed by so much: weights stay below 2^8

// Turns a square of LANES x LANES words about its diagonal: at each distance, pairs of rows exchange halves.
template <int DISTANCE = LANES / 2>
static inline void transpose(Words *rows) {
    const Ints lane = load<Ints>(LANE.number);  // __builtin_shuffle numbers the lanes of both vectors through
    const Ints low = lane & DISTANCE ? lane + (LANES - DISTANCE) : lane;
    const Ints high = lane & DISTANCE ? lane + LANES : lane + DISTANCE;
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++)
        if (!(i & DISTANCE)) {
            Words a = rows[i], b = rows[i + DISTANCE];
            rows[i] = __builtin_shuffle(a, b, low);
            rows[i + DISTANCE] = __builtin_shuffle(a, b, high);
        }
    if constexpr (DISTANCE > 1) transpose<DISTANCE / 2>(rows);
}

template <class T>
struct Block {  // rows of one KV head and what they have seen so far; the memory of a thread, used again and again
    using P = Packing<T>;
    int group_size, head_dim, depth;
    std::vector<uint32_t> q;                       // [M, depth]; M = rows * group_size
    std::vector<float> out, largest, total;        // [M, D], [M], [M, LANES]
    alignas(64) float scores[GROUP * TOKENS];      // and the weights in their place
    std::vector<uint32_t> keys, values;            // [depth, TOKENS], [TOKENS / STEP, D]

    void begin(int num_rows, const Layer &layer) {
        group_size = layer.num_heads / layer.num_kv_heads;
        head_dim = layer.head_dim;
        depth = head_dim / P::STEP;
        size_t num = size_t(num_rows) * group_size;
        q.resize(num * depth);
        out.assign(num * head_dim, 0.f);
        largest.assign(num, LOWEST);
        total.assign(num * LANES, 0.f);
        keys.resize(size_t(depth) * TOKENS);
        values.resize(size_t(TOKENS) / P::STEP * head_dim);
    }

    static const T *key_of(const Layer &layer, int head, int64_t slot) {
        return (const T *)layer.keys + slot * layer.keys_slot + head * layer.keys_head;
    }
    static const T *value_of(const Layer &layer, int head, int64_t slot) {
        return (const T *)layer.values + slot * layer.values_slot + head * layer.values_head;
    }
    static int64_t slot_of(const Plan &plan, int node, int token) {
        token += plan.node_offset[node];
        const int page = plan.pages[plan.node_page[node] + token / plan.page_size];
        return int64_t(page) * plan.page_size + token % plan.page_size;
    }
    // Page i of a block of tokens, its keys first, then its values; null where the block ends before.
    static const char *page_of(const Plan &plan, const Layer &layer, int head, int node, int first, int num, int i) {
        const int num_pages = (num + plan.page_size - 1) / plan.page_size;
        if (i >= 2 * num_pages) return nullptr;
        const int64_t slot = slot_of(plan, node, first + i % num_pages * plan.page_size);
        return (const char *)(i < num_pages ? key_of(layer, head, slot) : value_of(layer, head, slot));
    }

    void pack(const Plan &plan, const Layer &layer, int head, int node, int first, int num) {
        const T *key[TOKENS], *value[TOKENS];
        for (int t = 0; t < num; t++) {
            const int64_t slot = slot_of(plan, node, first + t);
            key[t] = key_of(layer, head, slot);
            value[t] = value_of(layer, head, slot);
        }
        for (int t = 0; t < num; t += LANES)
            for (int d = 0; d < depth; d += LANES) {
                Words square[LANES];
#pragma GCC unroll 16
                for (int i = 0; i < LANES; i++)
                    square[i] = t + i < num ? P::elements(key[t + i] + d * P::STEP) : Words{};
                transpose(square);
#pragma GCC unroll 16
                for (int i = 0; i < LANES; i++) store(&keys[size_t(d + i) * TOKENS + t], square[i]);
            }
        for (int t = 0; t < num; t += P::STEP)
            for (int d = 0; d < head_dim; d += LANES) {
                const T *odd = t + 1 < num ? value[t + 1] + d : nullptr;
                store(&values[size_t(t) / P::STEP * head_dim + d], P::of_tokens(value[t] + d, odd));
            }
    }

    // Scores of `num` queries from m on become weights; shrink: the factors for what the queries saw before.
    template <int V>
    void weigh(const Layer &layer, int m, int num, const int *from, const int *to, float *shrink) {
        const float factor = layer.softcap ? LOG2E * layer.softcap : LOG2E * layer.scale;
        for (int g = 0; g < num; g++) {
            float *row = scores + g * TOKENS;
            Floats s[V], top = all(LOWEST), sum = read(&total[size_t(m + g) * LANES]);
#pragma GCC unroll 4
            for (int v = 0; v < V; v++) s[v] = read(row + v * LANES);
            if (layer.softcap)
                for (int v = 0; v < V; v++) {  // tanh y = 1 - 2 / (1 + e^(2y)), which is 1 long before 2^60
                    Floats twice = s[v] * (2 * LOG2E * layer.scale / layer.softcap);
                    s[v] = 1.f - 2.f / (1.f + exp2_of<5>(twice > all(60.f) ? all(60.f) : twice));
                }
            if (from[g] > 0 || to[g] < V * LANES)
                for (int v = 0; v < V; v++) s[v] = hidden(s[v], from[g] - v * LANES, to[g] - v * LANES);
#pragma GCC unroll 4
            for (int v = 0; v < V; v++) top = larger(top, s[v]);
            const float highest = reduce(top, larger) * factor;
            shrink[g] = 1.f;
            if (highest > largest[m + g] + SLACK) {
                shrink[g] = std::exp2(largest[m + g] - highest);
                largest[m + g] = highest;
                sum *= shrink[g];
            }
            const Floats base = all(largest[m + g]);
#pragma GCC unroll 4
            for (int v = 0; v < V; v++) {
                Floats weight = exp2_of<P::STEP == 1 ? 5 : 3>(s[v] * factor - base);
                sum += weight;
                if constexpr (P::STEP == 1) write(row + v * LANES, weight);
                else write((uint16_t *)row + v * LANES, weight);
            }
            write(&total[size_t(m + g) * LANES], sum);
        }
    }

    void weigh(int num_vectors, const Layer &layer, int m, int num, const int *from, const int *to, float *shrink) {
        static_assert(VECTORS == 4, "a case for every number of vectors");
        switch (num_vectors) {
            case 1: return weigh<1>(layer, m, num, from, to, shrink);
            case 2: return weigh<2>(layer, m, num, from, to, shrink);
            case 3: return weigh<3>(layer, m, num, from, to, shrink);
            default: return weigh<4>(layer, m, num, from, to, shrink);
        }
    }

    // Rows [lo, hi) read a node; `row` is the block's first row.
    void read_node(const Plan &plan, const Layer &layer, int head, int node, int row, int lo, int hi) {
        const int start = plan.node_start[node], num_tokens = plan.node_tokens[node];
        for (int first = 0; first < num_tokens; first += TOKENS) {
            const int num = std::min(TOKENS, num_tokens - first);
            while (lo < hi && plan.row_position[lo] < start + first) lo++;  // a node's own rows come in order
            if (lo == hi) return;
            if (layer.window && !any_sees(plan, layer, start + first + num - 1, lo, hi)) continue;
            pack(plan, layer, head, node, first, num);
            const int end = (hi - row) * group_size, num_next = std::min(TOKENS, num_tokens - first - num);
            for (int m = (lo - row) * group_size, next = 0, group; m < end; m += group) {
                const int num_groups = (end - m + GROUP - 1) / GROUP;  // of nearly equal sizes
                group = (end - m + num_groups - 1) / num_groups;
                int from[GROUP], to[GROUP];
                float shrink[GROUP];
                for (int g = 0; g < group; g++) {
                    const int position = plan.row_position[row + (m + g) / group_size] - start - first;
                    to[g] = std::min(num, position + 1);
                    from[g] = layer.window ? position - layer.window + 1 : 0;
                }
                const int num_vectors = (num + LANES - 1) / LANES;
                multiply<T>(group, (float *)scores, int64_t(TOKENS), &q[size_t(m) * depth], int64_t(depth), keys.data(),
                            int64_t(TOKENS), depth, num_vectors, (const float *)nullptr,
                            page_of(plan, layer, head, node, first + num, num_next, next++));
                weigh(num_vectors, layer, m, group, from, to, shrink);
                multiply<T>(group, &out[size_t(m) * head_dim], int64_t(head_dim), (const uint32_t *)scores,
                            int64_t(TOKENS), values.data(), int64_t(head_dim), (num + P::STEP - 1) / P::STEP,
                            head_dim / LANES, (const float *)shrink,
                            page_of(plan, layer, head, node, first + num, num_next, next++));
            }
        }
    }

    static bool any_sees(const Plan &plan, const Layer &layer, int last_position, int lo, int hi) {
        for (int row = lo; row < hi; row++)
            if (plan.row_position[row] - last_position < layer.window) return true;
        return false;
    }

    void finish(const Layer &layer, int head, int row, int num_rows) {
        for (int m = 0; m < num_rows * group_size; m++) {
            const int h = head * group_size + m % group_size;
            float sum = reduce(read(&total[size_t(m) * LANES]), [](Floats a, Floats b) { return a + b; });
            float top = largest[m], shrink = 1.f;
            if (layer.sinks) {
                float sink = layer.sinks[h] * LOG2E, highest = std::max(top, sink);
                shrink = std::exp2(top - highest);
                sum = sum * shrink + std::exp2(sink - highest);
                top = highest;
            }
            const float factor = sum == 0 ? 0.f : shrink / sum;  // 0 where a row sees nothing
            const int64_t at = int64_t(row + m / group_size) * layer.num_heads + h;
            T *to = (T *)layer.out + at * head_dim;
            for (int d = 0; d < head_dim; d += LANES) write(to + d, read(&out[size_t(m) * head_dim + d]) * factor);
            if (layer.lse) layer.lse[at] = sum == 0 ? -INFINITY : (top + std::log2(sum)) * LN2;
        }
    }
};

// One head of one row, its halves turned against each other by the row's angles (arXiv 2104.09864); plain without cos.
template <class T>
static void rotate(const T *from, const Layer &layer, int row, T *to) {
    const int half = layer.head_dim / 2;
    if (!layer.cos) {
        memcpy(to, from, layer.head_dim * sizeof(T));
        return;
    }
    const T *cos = (const T *)layer.cos + row * layer.angle_row, *sin = (const T *)layer.sin + row * layer.angle_row;
    int d = 0;
    for (; d + LANES <= half; d += LANES) {
        Floats low = read(from + d), high = read(from + half + d);
        write(to + d, low * read(cos + d) - high * read(sin + d));
        write(to + half + d, high * read(cos + half + d) + low * read(sin + half + d));
    }
    if (d < half) __builtin_trap();  // head_dim is a multiple of 2 * LANES here: compiled_backend.py sees to it
}

template <class T>
static void attend(const Plan &plan, const Layer &layer) {
    const int group_size = layer.num_heads / layer.num_kv_heads;
    const int num_tasks = plan.num_blocks * layer.num_kv_heads;
#pragma omp parallel num_threads(plan.num_threads)
    {
        if (layer.k) {
#pragma omp for schedule(static)
            for (int row = 0; row < plan.num_rows; row++)
                for (int head = 0; head < layer.num_kv_heads; head++) {
                    const int64_t slot = plan.row_slot[row];
                    rotate((const T *)layer.k + row * layer.k_row + head * layer.k_head, layer, row,
                           (T *)layer.keys + slot * layer.keys_slot + head * layer.keys_head);
                    memcpy((T *)layer.values + slot * layer.values_slot + head * layer.values_head,
                           (const T *)layer.v + row * layer.v_row + head * layer.v_head, layer.head_dim * sizeof(T));
                }
        }
        static thread_local Block<T> block;
#pragma omp for schedule(dynamic, 1)
        for (int task = 0; task < num_tasks; task++) {
            const int b = task / layer.num_kv_heads, head = task % layer.num_kv_heads;
            const int row = plan.block_row[b], end = plan.block_row[b + 1];
            if (layer.wanted && !std::any_of(layer.wanted + row, layer.wanted + end, [](bool is) { return is; })) continue;
            block.begin(end - row, layer);
            std::vector<T> turned(layer.head_dim);
            for (int m = 0; m < (end - row) * group_size; m++) {
                const int r = row + m / group_size, h = head * group_size + m % group_size;
                rotate((const T *)layer.q + r * layer.q_row + h * layer.q_head, layer, r, turned.data());
                for (int d = 0; d < block.depth; d += LANES)
                    store(&block.q[size_t(m) * block.depth + d],
                          Packing<T>::elements(turned.data() + d * Packing<T>::STEP));
            }
            for (int i = plan.block_node[b]; i < plan.block_node[b + 1]; i++) {
                const int node = plan.nodes[i];
                block.read_node(plan, layer, head, node, row, std::max(row, plan.node_lo[node]),
                                std::min(end, plan.node_hi[node]));
            }
            block.finish(layer, head, row, end - row);
        }
    }
}

extern "C" void tree_attention_float32(const Plan *plan, const Layer *layer) { attend<float>(*plan, *layer); }
extern "C" void tree_attention_bfloat16(const Plan *plan, const Layer *layer) { attend<uint16_t>(*plan, *layer); }
