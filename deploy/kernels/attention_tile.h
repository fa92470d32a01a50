// Flash attention over f16 keys and values for many queries, sixteen tokens at a time, on AVX-512.
//
// llama.cpp takes 64 queries of one head by 64 cells, looks through the mask anew for each head, and multiplies all of them where a
// single pair is seen: of a batch of short texts, most see none of the others. Here the mask is read once for all heads, and only
// cells between the first and the last that sixteen tokens see are multiplied. Lanes are tokens, so that the maximum, the
// exponentials and their sums need no shuffling. Each number is still made by the same operations in the same order: one product
// after the other, 64 cells before the maximum is taken anew, their weights added in llama.cpp's tree, in llama.cpp's own
// exponential. Left out are products with a weight of zero, which alter nothing but the sign of a zero.

#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "attention_block.h"
#include "ggml-cpu-impl.h"
#include "ggml.h"
#include "vec.h"

namespace {

constexpr int tile_cells      = 64;  // llama.cpp's
constexpr int value_registers = 2;   // of a head's value that are added up at once
constexpr int value_tokens    = 8;   // and for so many tokens
constexpr int value_step      = value_registers * n_lanes;

struct alignas(64) Lanes {
    float values[n_lanes];
};

inline __m512 load(const Lanes & lanes) { return _mm512_load_ps(lanes.values); }

inline void store(Lanes & lanes, __m512 x) { _mm512_store_ps(lanes.values, x); }

// What sixteen tokens see of 64 cells.
struct Sight {
    Lanes mask[tile_cells];
    int   first = 0;
    int   end   = 0;  // 0: nothing

    // Rows of the mask for so many tokens, and so many cells; without a mask they see them all.
    void look(const char * rows, size_t row_bytes, int n_tokens, int n_cells) {
        uint64_t seen = 0;
        for (int token = 0; token < n_tokens; ++token) {
            seen |= rows ? seen_by(reinterpret_cast<const ggml_fp16_t *>(rows + token * row_bytes), n_cells) : below(n_cells);
        }
        first = seen ? __builtin_ctzll(seen) : 0;
        end   = seen ? 64 - __builtin_clzll(seen) : 0;
        for (int cell = first; cell < end; ++cell) {
            store(mask[cell], _mm512_mask_mov_ps(_mm512_set1_ps(-INFINITY), static_cast<__mmask16>(below(n_tokens)),
                                                 _mm512_setzero_ps()));
        }
        for (int token = 0; rows && token < n_tokens; ++token) {
            const auto * row = reinterpret_cast<const ggml_fp16_t *>(rows + token * row_bytes);
            for (int cell = first; cell < end; ++cell) {
                mask[cell].values[token] = GGML_CPU_FP16_TO_FP32(row[cell]);
            }
        }
    }

  private:
    static uint64_t below(int n) { return n < 64 ? (uint64_t{1} << n) - 1 : ~uint64_t{0}; }

    static uint64_t seen_by(const ggml_fp16_t * row, int n_cells) {
        const __m512i minus_inf = _mm512_set1_epi16(static_cast<short>(0xfc00));
        const auto    seen      = [&](const ggml_fp16_t * from, uint32_t which) -> uint64_t {
            return _mm512_mask_cmpneq_epi16_mask(which, _mm512_maskz_loadu_epi16(which, from), minus_inf);
        };
        const uint64_t all = below(n_cells);
        return seen(row, static_cast<uint32_t>(all)) | seen(row + 32, static_cast<uint32_t>(all >> 32)) << 32;
    }
};

// One query head of sixteen tokens, and what is kept of it from one tile to the next.
struct TileHead {
    Lanes * query;   // number after number
    float * result;  // token after token
    Lanes * maximum;
    Lanes * sum;
};

// One KV head's tile, for one query head after the other.
class Tile {
  public:
    Tile(const Sight & sight, const Column & keys, const Column & values, int64_t first_cell, float scale, float * room)
        : sight(sight), values(values), first_cell(static_cast<int32_t>(first_cell)), size(keys.size), scale(scale), keys(room) {
        for (int cell = sight.first; cell < sight.end; ++cell) {
            const ggml_fp16_t * from = keys[this->first_cell + cell];
            for (int64_t at = 0; at < size; at += n_lanes) {
                _mm512_store_ps(room + cell * size + at, halves(from + at));
            }
        }
    }

    void attend(const TileHead & head, int n_tokens) {
        int cell = sight.first;
        for (; cell + 16 <= sight.end; cell += 16) {
            score<16>(head, cell);
        }
        for (; cell + 4 <= sight.end; cell += 4) {
            score<4>(head, cell);
        }
        for (; cell < sight.end; ++cell) {
            score<1>(head, cell);
        }
        weigh(head, n_tokens);
        for (int token = 0; token < n_tokens; token += value_tokens) {
            for (int64_t at = 0; at < values.size; at += value_step) {
                add_values(head.result + token * values.size + at, token, at);
            }
        }
    }

  private:
    const Sight &  sight;
    const Column & values;
    const int32_t  first_cell;
    const int64_t  size;
    const float    scale;
    float * const  keys;
    Lanes          weights[tile_cells];  // scores, before

    static __m512 halves(const ggml_fp16_t * from) {
        return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(from)));
    }

    template <int n_cells> void score(const TileHead & head, int first) {
        const float * key = keys + first * size;
        __m512        sums[n_cells];
        std::fill_n(sums, n_cells, _mm512_setzero_ps());
        for (int64_t at = 0; at < size; ++at) {
            const __m512 query = load(head.query[at]);
#pragma GCC unroll 16
            for (int cell = 0; cell < n_cells; ++cell) {
                sums[cell] = _mm512_fmadd_ps(query, _mm512_set1_ps(key[cell * size + at]), sums[cell]);
            }
        }
#pragma GCC unroll 16
        for (int cell = 0; cell < n_cells; ++cell) {
            // by the form with a rounding mode: the compiler would fuse it with the addition
            const __m512 scaled = _mm512_mul_round_ps(sums[cell], _mm512_set1_ps(scale), _MM_FROUND_CUR_DIRECTION);
            store(weights[first + cell], _mm512_add_ps(scaled, load(sight.mask[first + cell])));
        }
    }

    void weigh(const TileHead & head, int n_tokens) {
        __m512 highest = _mm512_set1_ps(-INFINITY);
        for (int cell = sight.first; cell < sight.end; ++cell) {
            highest = _mm512_max_ps(highest, load(weights[cell]));
        }
        const __mmask16 sees    = _mm512_cmp_ps_mask(highest, _mm512_set1_ps(-INFINITY), _CMP_NEQ_UQ);
        const __m512    before  = load(*head.maximum);
        const __m512    maximum = _mm512_max_ps(before, highest);
        const __mmask16 rises   = _mm512_cmp_ps_mask(maximum, before, _CMP_GT_OQ);
        const __mmask16 had     = _mm512_cmp_ps_mask(before, _mm512_set1_ps(-INFINITY), _CMP_NEQ_UQ);
        if (const unsigned both = rises & had) {
            rescale(head, both, _mm512_sub_ps(before, maximum), n_tokens);
        }
        store(*head.maximum, maximum);
        __m512d sums[2] = {_mm512_setzero_pd(), _mm512_setzero_pd()};
        for (int group = sight.first / n_lanes; group * n_lanes < sight.end; ++group) {
            add_weights(group * n_lanes, maximum, sees, sums);
        }
        const __m512 sum = load(*head.sum);
        const auto   added = [](__m256 x, __m512d y) { return _mm512_cvtpd_ps(_mm512_add_pd(_mm512_cvtps_pd(x), y)); };
        const __m256 lower = added(_mm512_castps512_ps256(sum), sums[0]);
        const __m256 upper = added(_mm512_extractf32x8_ps(sum, 1), sums[1]);
        store(*head.sum, _mm512_insertf32x8(_mm512_castps256_ps512(lower), upper, 1));
    }

    // The weights of sixteen cells, and their sums in the tree of _mm512_reduce_add_ps.
    void add_weights(int first, __m512 maximum, __mmask16 sees, __m512d sums[2]) {
        __m512 terms[n_lanes];
#pragma GCC unroll 16
        for (int at = 0; at < n_lanes; ++at) {
            const int cell = first + at;
            terms[at]      = _mm512_setzero_ps();
            if (cell >= sight.first && cell < sight.end) {
                terms[at] = _mm512_maskz_mov_ps(sees, ggml_v_expf(_mm512_sub_ps(load(weights[cell]), maximum)));
                store(weights[cell], terms[at]);
            }
        }
#pragma GCC unroll 4
        for (int half = n_lanes / 2; half; half /= 2) {
            for (int at = 0; at < half; ++at) {
                terms[at] = _mm512_add_ps(terms[at], terms[at + half]);
            }
        }
        sums[0] = _mm512_add_pd(sums[0], _mm512_cvtps_pd(_mm512_castps512_ps256(terms[0])));
        sums[1] = _mm512_add_pd(sums[1], _mm512_cvtps_pd(_mm512_extractf32x8_ps(terms[0], 1)));
    }

    void rescale(const TileHead & head, unsigned which, __m512 falls, int n_tokens) const {
        Lanes fall;
        store(fall, falls);
        for (int token = 0; token < n_tokens; ++token) {
            if (which >> token & 1) {
                const float by = expf(fall.values[token]);
                head.sum->values[token] *= by;
                for (int64_t at = 0; at < values.size; at += n_lanes) {
                    float * result = head.result + token * values.size + at;
                    _mm512_store_ps(result, _mm512_mul_ps(_mm512_load_ps(result), _mm512_set1_ps(by)));
                }
            }
        }
    }

    void add_values(float * results, int token, int64_t at) const {
        __m512 sums[value_tokens][value_registers];
#pragma GCC unroll 8
        for (int which = 0; which < value_tokens; ++which) {
            for (int part = 0; part < value_registers; ++part) {
                sums[which][part] = _mm512_load_ps(results + which * values.size + part * n_lanes);
            }
        }
        for (int cell = sight.first; cell < sight.end; ++cell) {
            const ggml_fp16_t * value = values[first_cell + cell] + at;
            const __m512        parts[value_registers] = {halves(value), halves(value + n_lanes)};
#pragma GCC unroll 8
            for (int which = 0; which < value_tokens; ++which) {
                const __m512 weight = _mm512_set1_ps(weights[cell].values[token + which]);
                for (int part = 0; part < value_registers; ++part) {
                    sums[which][part] = _mm512_fmadd_ps(parts[part], weight, sums[which][part]);
                }
            }
        }
#pragma GCC unroll 8
        for (int which = 0; which < value_tokens; ++which) {
            for (int part = 0; part < value_registers; ++part) {
                _mm512_store_ps(results + which * values.size + part * n_lanes, sums[which][part]);
            }
        }
    }
};

}  // namespace
