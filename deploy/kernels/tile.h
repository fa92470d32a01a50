// What the kinds of tiles share: a tile's place in a product, and the steps whose order decides the bits of a result.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#define GGML_COMMON_DECL_CPP
#include "ggml-common.h"

namespace {

template <class T> inline T read(const void * from) {
    T value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

inline __m256i load32(const void * from) {
    return _mm256_loadu_si256(static_cast<const __m256i *>(from));
}

struct ColumnScale {
    float d;
    float sum;  // d times the sum of the block's values
};

inline ColumnScale scale_of(const block_q8_1 & column) {
    return {_cvtsh_ss(read<uint16_t>(&column)), _cvtsh_ss(read<uint16_t>(reinterpret_cast<const char *>(&column) + 2))};
}

inline float sum_of_eight(__m256 x) {
    __m128 sum = _mm_add_ps(_mm256_extractf128_ps(x, 1), _mm256_castps256_ps128(x));
    sum        = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
    return _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
}

// The blocks of Format::tile_rows rows and of a few columns beside each other.
template <class Format> struct Tile {
    const typename Format::Row *    rows[Format::tile_rows];  // the last one again where there are fewer
    int                             n_rows;
    int64_t                         n_blocks;
    const typename Format::Column * columns;
    int64_t                         column_stride;  // blocks
    const ColumnScale *             column_scales;  // n_blocks of each column
    float *                         results;
    int64_t                         result_stride;  // floats
    bool                            prefetches;

    void prefetch(int64_t block) const {
        if (prefetches) {
            for (const auto * row : rows) {
                _mm_prefetch(reinterpret_cast<const char *>(row + block + 2 * Format::tile_rows * n_blocks), _MM_HINT_T0);
            }
        }
    }
};

}  // namespace
