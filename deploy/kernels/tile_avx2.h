// Tiles of four rows and three columns in registers of 256 bits, a row in each: AVX2, with its dot product where there is one.
#pragma once

#include "tile.h"

namespace {

// llama.cpp has tiles of its own for Q8_0 in this width.
struct Q4_1 {
    using Row    = block_q4_1;
    using Column = block_q8_1;
    static constexpr int tile_rows    = 4;
    static constexpr int tile_columns = 3;

    static __m256i values(const Row & row) {
        const __m128i packed = _mm_loadu_si128(reinterpret_cast<const __m128i *>(row.qs));
        const __m256i twice  = _mm256_inserti128_si256(_mm256_castsi128_si256(packed), _mm_srli_epi16(packed, 4), 1);
        return _mm256_and_si256(twice, _mm256_set1_epi8(0x0f));
    }

    static ColumnScale column_scale(const Column & column) { return scale_of(column); }
};

// The sums of four products each, of unsigned and signed bytes.
inline __m256i products_of(__m256i weights, __m256i values) {
#ifdef __AVXVNNI__
    return _mm256_dpbusd_avx_epi32(_mm256_setzero_si256(), weights, values);
#else
    return _mm256_madd_epi16(_mm256_set1_epi16(1), _mm256_maddubs_epi16(weights, values));
#endif
}

template <class Format, int n_columns> inline __attribute__((always_inline)) void multiply_tile(const Tile<Format> & tile) {
    static_assert(Format::tile_rows == 4, "scales and minima of four rows fill a register");
    __m256 sums[4][n_columns];
    __m128 minima[n_columns];
    for (int column = 0; column < n_columns; ++column) {
        minima[column] = _mm_setzero_ps();
        for (int row = 0; row < 4; ++row) {
            sums[row][column] = _mm256_setzero_ps();
        }
    }
    for (int64_t block = 0; block < tile.n_blocks; ++block) {
        tile.prefetch(block);
        const auto          head          = [&](int row) { return read<int32_t>(tile.rows[row] + block); };
        const __m256        heads         = _mm256_cvtph_ps(_mm_setr_epi32(head(0), head(1), head(2), head(3)));
        const __m128        lower         = _mm256_castps256_ps128(heads);
        const __m128        upper         = _mm256_extractf128_ps(heads, 1);
        const __m128        row_minima    = _mm_shuffle_ps(lower, upper, _MM_SHUFFLE(3, 1, 3, 1));
        const ColumnScale * column_scales = tile.column_scales + block;
        float row_scales[4];
        _mm_storeu_ps(row_scales, _mm_shuffle_ps(lower, upper, _MM_SHUFFLE(2, 0, 2, 0)));
#pragma GCC unroll 4
        for (int column = 0; column < n_columns; ++column) {
            minima[column] = _mm_fmadd_ps(row_minima, _mm_set1_ps(column_scales[column * tile.n_blocks].sum), minima[column]);
        }
#pragma GCC unroll 4
        for (int row = 0; row < 4; ++row) {
            const __m256i weights = Format::values(tile.rows[row][block]);
            const __m256  scales  = _mm256_set1_ps(row_scales[row]);
#pragma GCC unroll 4
            for (int column = 0; column < n_columns; ++column) {
                const __m256i products = products_of(weights, load32(tile.columns[column * tile.column_stride + block].qs));
                const __m256  scale    = _mm256_mul_ps(scales, _mm256_set1_ps(column_scales[column * tile.n_blocks].d));
                sums[row][column]      = _mm256_fmadd_ps(scale, _mm256_cvtepi32_ps(products), sums[row][column]);
            }
        }
    }
    for (int column = 0; column < n_columns; ++column) {
        float minimum[4];
        _mm_storeu_ps(minimum, minima[column]);
        for (int row = 0; row < tile.n_rows; ++row) {
            tile.results[column * tile.result_stride + row] = sum_of_eight(sums[row][column]) + minimum[row];
        }
    }
}

}  // namespace
