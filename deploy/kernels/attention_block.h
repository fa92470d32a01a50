// Attention of one to four query heads, which share a KV head, over sixteen cells at a time.

#pragma once

#include <immintrin.h>

#include <cmath>
#include <cstdint>

#include "exponential.h"
#include "ggml.h"

namespace {

constexpr int n_lanes   = 16;                // floats in a register, and cells in a block
constexpr int n_sums    = 4;                 // partial ones of a score, as llama.cpp has them
constexpr int step      = n_sums * n_lanes;  // sizes of heads are multiples of it
constexpr int max_heads = 4;                 // query heads that go together

inline __m512 rounded_to_f16(__m512 x) {
    return _mm512_cvtph_ps(_mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}

// Keys or values of one KV head of one stream.
struct Column {
    const char * data;
    int64_t      stride;  // bytes from one cell to the next
    int64_t      size;    // numbers

    const ggml_fp16_t * operator[](int32_t cell) const { return reinterpret_cast<const ggml_fp16_t *>(data + cell * stride); }
};

// A query head, and what is kept of it from one block to the next.
struct Head {
    float * query;   // in f16's precision
    float * result;  // the same: llama.cpp adds up in f16
    float   maximum;
    float   sum;
};

template <int n_heads> class Block {
  public:
    Block(const Exponential & exponential, const Column & keys, const Column & values, Head * heads, float scale)
        : exponential(exponential), keys(keys), values(values), heads(heads), scale(scale) {}

    // n_seen of n_lanes cells; behind these as many that are fetched ahead.
    void attend(const int32_t * cells, const float * mask, int n_seen) {
        const __mmask16 seen = static_cast<__mmask16>((1 << n_seen) - 1);
        __m512          scores[n_heads];
        if (keys.size == step) {
            score<true>(cells, scores);
        } else {
            score<false>(cells, scores);
        }
        rises = 0;
        for (int head = 0; head < n_heads; ++head) {
            // by the form with a rounding mode: the compiler would fuse it with the addition
            const __m512 scaled = _mm512_mul_round_ps(scores[head], _mm512_set1_ps(scale), _MM_FROUND_CUR_DIRECTION);
            const __m512 masked = _mm512_add_ps(scaled, _mm512_loadu_ps(mask));
            weigh(head, _mm512_mask_mov_ps(_mm512_set1_ps(-INFINITY), seen, masked));
        }
        for (int head = 0; head < n_heads; ++head) {
            for (int at = 0; at < n_seen; ++at) {
                heads[head].sum = heads[head].sum * rescales[head][at] + weights[head][at];
            }
        }
        // alone, a head has sums enough in flight only with twice as many
        if (n_heads == 1 && values.size % (2 * step) == 0) {
            add_values<2 * step / n_lanes>(cells, n_seen);
        } else {
            add_values<step / n_lanes>(cells, n_seen);
        }
    }

  private:
    const Exponential & exponential;
    const Column        keys;
    const Column        values;
    Head * const        heads;
    const float         scale;
    alignas(64) float   weights[n_heads][n_lanes];
    alignas(64) float   rescales[n_heads][n_lanes];  // of what was added up before a cell
    unsigned            rises;                       // bits of the cells at which a maximum rose

    static __m512 load_f16(const ggml_fp16_t * from) {
        return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(from)));
    }

    static void fetch(const ggml_fp16_t * from, int64_t n_numbers) {
        for (int64_t at = 0; at < n_numbers; at += 64 / sizeof *from) {
            _mm_prefetch(reinterpret_cast<const char *>(from + at), _MM_HINT_T0);
        }
    }

    // Sums over the lanes of each of sixteen registers, in the tree of _mm512_reduce_add_ps: halves, quarters, and the rest.
    static __m512 add_halves(__m512 a, __m512 b) {
        return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
    }

    static __m512 add_quarters(__m512 a, __m512 b) {
        return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
    }

    static __m512 add_rest(const __m512 x[4]) {
        const __m512 first  = _mm512_add_ps(_mm512_shuffle_ps(x[0], x[1], 0x44), _mm512_shuffle_ps(x[0], x[1], 0xee));
        const __m512 second = _mm512_add_ps(_mm512_shuffle_ps(x[2], x[3], 0x44), _mm512_shuffle_ps(x[2], x[3], 0xee));
        return _mm512_add_ps(_mm512_shuffle_ps(first, second, 0x88), _mm512_shuffle_ps(first, second, 0xdd));
    }

    template <bool is_short> void score(const int32_t * cells, __m512 scores[n_heads]) const {
        __m512 fours[n_heads][4];
#pragma GCC unroll 4
        for (int group = 0; group < 4; ++group) {
            __m512 sums[4][n_heads];
#pragma GCC unroll 4
            for (int member = 0; member < 4; ++member) {
                const int32_t * cell = cells + group + 4 * member;
                fetch(keys[cell[n_lanes]], keys.size);
                if (is_short) {
                    score_short(keys[*cell], sums[member]);
                } else {
                    score_long(keys[*cell], sums[member]);
                }
            }
            for (int head = 0; head < n_heads; ++head) {
                fours[head][group] =
                    add_quarters(add_halves(sums[0][head], sums[1][head]), add_halves(sums[2][head], sums[3][head]));
            }
        }
        for (int head = 0; head < n_heads; ++head) {
            scores[head] = add_rest(fours[head]);
        }
    }

    // One product in each place: as those of f16 are exact in f32, adding the next rounds once, fused or not.
    void score_short(const ggml_fp16_t * key, __m512 sums[n_heads]) const {
        const __m512 k0 = load_f16(key), k1 = load_f16(key + 16), k2 = load_f16(key + 32), k3 = load_f16(key + 48);
        for (int head = 0; head < n_heads; ++head) {
            const float * query = heads[head].query;
            const __m512  even  = _mm512_fmadd_ps(k2, _mm512_load_ps(query + 32), _mm512_mul_ps(k0, _mm512_load_ps(query)));
            const __m512 odd = _mm512_fmadd_ps(k3, _mm512_load_ps(query + 48), _mm512_mul_ps(k1, _mm512_load_ps(query + 16)));
            sums[head]       = _mm512_add_ps(even, odd);
        }
    }

    void score_long(const ggml_fp16_t * key, __m512 sums[n_heads]) const {
        __m512 parts[n_heads][n_sums];
        for (int head = 0; head < n_heads; ++head) {
            for (int part = 0; part < n_sums; ++part) {
                parts[head][part] = _mm512_setzero_ps();
            }
        }
        for (int64_t at = 0; at < keys.size; at += step) {
            for (int part = 0; part < n_sums; ++part) {
                const int64_t place = at + part * n_lanes;
                const __m512  k     = load_f16(key + place);
                for (int head = 0; head < n_heads; ++head) {
                    parts[head][part] = _mm512_fmadd_ps(k, _mm512_load_ps(heads[head].query + place), parts[head][part]);
                }
            }
        }
        for (int head = 0; head < n_heads; ++head) {
            const __m512 even = _mm512_add_ps(parts[head][0], parts[head][2]);
            const __m512 odd  = _mm512_add_ps(parts[head][1], parts[head][3]);
            sums[head]        = _mm512_add_ps(even, odd);
        }
    }

    // Lanes move up by `count`; those of `before` come in from below.
    template <int count> static __m512 moved(__m512 x, __m512 before) {
        return _mm512_castsi512_ps(
            _mm512_alignr_epi32(_mm512_castps_si512(x), _mm512_castps_si512(before), n_lanes - count));
    }

    void weigh(int head, __m512 scores) {
        const __m512 one    = _mm512_set1_ps(1);
        const __m512 before = _mm512_set1_ps(heads[head].maximum);
        __m512       so_far = before;
        _mm512_store_ps(rescales[head], one);
        if (_mm512_cmp_ps_mask(scores, before, _CMP_GT_OQ)) {
            so_far = _mm512_max_ps(moved<1>(scores, before), scores);
            so_far = _mm512_max_ps(moved<2>(so_far, before), so_far);
            so_far = _mm512_max_ps(moved<4>(so_far, before), so_far);
            so_far = _mm512_max_ps(moved<8>(so_far, before), so_far);
            const __m512    earlier = moved<1>(so_far, before);
            const __mmask16 here    = _mm512_cmp_ps_mask(scores, earlier, _CMP_GT_OQ);
            _mm512_mask_store_ps(rescales[head], here, exponential.of(_mm512_sub_ps(earlier, so_far)));
            heads[head].maximum = _mm512_cvtss_f32(moved<1>(so_far, so_far));
            rises |= here;
        }
        _mm512_store_ps(weights[head], exponential.of(_mm512_sub_ps(scores, so_far)));
    }

    template <int n_registers> void add_values(const int32_t * cells, int n_seen) const {
        constexpr int width = n_registers * n_lanes;
        for (int64_t at = 0; at < values.size; at += width) {
            __m512 sums[n_heads][n_registers];
            for (int head = 0; head < n_heads; ++head) {
                for (int place = 0; place < n_registers; ++place) {
                    sums[head][place] = _mm512_load_ps(heads[head].result + at + place * n_lanes);
                }
            }
            for (int seen = 0; seen < n_seen; ++seen) {
                const ggml_fp16_t * value = values[cells[seen]] + at;
                fetch(values[cells[seen + n_lanes]] + at, width);
                if (rises >> seen & 1) {
                    for (int head = 0; head < n_heads; ++head) {
                        for (__m512 & sum : sums[head]) {
                            sum = rounded_to_f16(_mm512_mul_ps(sum, _mm512_set1_ps(rescales[head][seen])));
                        }
                    }
                }
                __m512 numbers[n_registers];
                for (int place = 0; place < n_registers; ++place) {
                    numbers[place] = load_f16(value + place * n_lanes);
                }
                for (int head = 0; head < n_heads; ++head) {
                    const __m512 weight = _mm512_set1_ps(weights[head][seen]);
                    for (int place = 0; place < n_registers; ++place) {
                        sums[head][place] = rounded_to_f16(_mm512_fmadd_ps(numbers[place], weight, sums[head][place]));
                    }
                }
            }
            for (int head = 0; head < n_heads; ++head) {
                for (int place = 0; place < n_registers; ++place) {
                    _mm512_store_ps(heads[head].result + at + place * n_lanes, sums[head][place]);
                }
            }
        }
    }
};

}  // namespace
