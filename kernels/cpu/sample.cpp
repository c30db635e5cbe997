// Sampling as treereason/engine/steps/sampler.py has it, one pass over the logits. Called by sample.py.
//
// Gumbel-max: the token with the largest logit / temperature + noise, noise hashed from (key, position, id). The noise
// of most ids need not be known: its uniform number is compared with the least one by which the id could still win.

#include <algorithm>

#include "vectors.h"

constexpr int BITS = 23;             // of a uniform number
constexpr float MOST_NOISE = 16.7f;  // above the largest noise that there is, 16.64

typedef uint64_t Longs __attribute__((vector_size(8 * LANES)));

// Finaliser of MurmurHash3, 64 bit (public domain).
template <class X>
static inline X mix(X x) {
    x = (x ^ (x >> 33)) * 0xff51afd7ed558ccdULL;
    x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53ULL;
    return x ^ (x >> 33);
}
static inline float noise_of(uint32_t bits) {
    const float uniform = (bits + 0.5f) * (1.f / (1 << BITS));
    return -std::log(-std::log(uniform));
}
// The least uniform number whose noise may exceed x, from below.
static inline uint32_t least_bits(double x) { return uint32_t(std::exp(-std::exp(-x)) * (1 << BITS)); }

struct Likeliest {
    int64_t id = 0;
    float logit = -INFINITY, log_total = 0;
};

static Likeliest likeliest(const float *logits, int64_t size) {
    Likeliest found;
    Floats tops = all(-INFINITY), sums{};
    int64_t i = 0;
    for (; i + LANES <= size; i += LANES) tops = larger(tops, read(logits + i));
    found.logit = reduce(tops, larger);
    for (; i < size; i++) found.logit = std::max(found.logit, logits[i]);
    while (found.id < size - 1 && logits[found.id] != found.logit) found.id++;
    for (i = 0; i + LANES <= size; i += LANES) sums += exp2_of<5>((read(logits + i) - found.logit) * LOG2E);
    float sum = reduce(sums, [](Floats a, Floats b) { return a + b; });
    for (; i < size; i++) sum += std::exp(logits[i] - found.logit);
    found.log_total = found.logit + std::log(sum);  // NaN where a logit is NaN or infinite, or all are -inf
    return found;
}

static int64_t draw(const float *logits, int64_t size, uint64_t row, float temperature, const Likeliest &top) {
    const float per_degree = 1.f / temperature, highest = top.logit / temperature;
    auto bits_of = [&](uint64_t id) { return uint32_t(mix(row + id) >> (64 - BITS)); };
    int64_t best_id = top.id;
    float best = highest + noise_of(bits_of(top.id));
    uint32_t least[int(MOST_NOISE) + 2];  // by whole parts of what an id lacks to the best
    float lowest = 0;
    auto raise = [&] {
        const float rounding = 1e-5f + 1e-6f * (std::abs(best) + std::abs(highest));
        lowest = (best - MOST_NOISE - rounding) * temperature;
        for (int x = 0; x < int(MOST_NOISE) + 2; x++) least[x] = least_bits(best - highest - rounding + x);
    };
    raise();
    const Longs lanes = __builtin_convertvector(load<Ints>(LANE.number), Longs);
    for (int64_t i = 0; i < size; i += LANES) {
        const int num = int(std::min<int64_t>(LANES, size - i));
        if (num == LANES && reduce(read(logits + i), larger) < lowest) continue;
        const Longs hashes = mix(lanes + (row + uint64_t(i))) >> (64 - BITS);
        for (int l = 0; l < num; l++) {
            if (!(logits[i + l] >= lowest) || uint32_t(hashes[l]) < least[0]) continue;
            const float lacks = highest - logits[i + l] * per_degree;
            if (uint32_t(hashes[l]) < least[std::clamp(int(lacks), 0, int(MOST_NOISE) + 1)]) continue;
            const float value = logits[i + l] / temperature + noise_of(uint32_t(hashes[l]));
            if (value > best || (value == best && i + l < best_id)) best = value, best_id = i + l, raise();
        }
    }
    return best_id;
}

// logits: [rows, size] contiguous. A row of a temperature below `lowest` takes its likeliest id.
extern "C" void sample_float32(const float *logits, const int64_t *keys, const int64_t *positions,
                               const float *temperatures, float lowest, int64_t *tokens, float *logprobs,
                               int64_t num_rows, int64_t size, int num_threads) {
#pragma omp parallel for num_threads(num_threads) schedule(dynamic, 1) if (num_rows * size > 1 << 16)
    for (int64_t row = 0; row < num_rows; row++) {
        const float *of_row = logits + row * size;
        const Likeliest top = likeliest(of_row, size);
        const uint64_t hashed = mix(mix(uint64_t(keys[row])) + uint64_t(positions[row]));
        const bool greedy = temperatures[row] < lowest || !(top.logit > -INFINITY);
        tokens[row] = greedy ? top.id : draw(of_row, size, hashed, temperatures[row], top);
        logprobs[row] = of_row[tokens[row]] - top.log_total;
    }
}
