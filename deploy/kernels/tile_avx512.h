// Tiles of eight rows and four columns in registers of 512 bits, two rows in each: AVX-512 VNNI.
#pragma once

#include "tile.h"

// GCC 12 takes the undefined registers in its own header's masked intrinsics for mistakes.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

namespace {

struct EightByFour {
    static constexpr int tile_rows    = 8;
    static constexpr int tile_columns = 4;
};

constexpr int tile_rows  = EightByFour::tile_rows;
constexpr int tile_pairs = tile_rows / 2;

// The 16-bit floats at the start of one block of eight rows: of each row the low half of `T`, then its high half.
template <class T, class Row> inline __m512 leading_floats(const Row * const rows[tile_rows], int64_t block) {
    const auto four = [&](int first) {
        return _mm_setr_epi32(read<T>(rows[first] + block), read<T>(rows[first + 1] + block), read<T>(rows[first + 2] + block),
                              read<T>(rows[first + 3] + block));
    };
    return _mm512_cvtph_ps(_mm256_set_m128i(four(4), four(0)));
}

// A weight format says: the block types of rows and columns; whether rows have minima; of eight rows their scales (at even
// places) and minima (odd); of two rows their values as unsigned bytes, row 0 in the lower half of the register; the integers
// that a column's sums of products start from; and a column's scale.
struct Q4_1 : EightByFour {
    using Row    = block_q4_1;
    using Column = block_q8_1;
    static constexpr bool has_minimum = true;

    static __m512 scales(const Row * const rows[tile_rows], int64_t block) { return leading_floats<int32_t>(rows, block); }

    static __m512i values(const Row & row0, const Row & row1) {
        const __m128i lower   = _mm_loadu_si128(reinterpret_cast<const __m128i *>(row0.qs));
        const __m128i upper   = _mm_loadu_si128(reinterpret_cast<const __m128i *>(row1.qs));
        const __m512i packed  = _mm512_castsi256_si512(_mm256_inserti128_si256(_mm256_castsi128_si256(lower), upper, 1));
        const __m512i twice   = _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 1, 0, 1, 2, 3, 2, 3), packed);
        const __m512i shifted = _mm512_srlv_epi64(twice, _mm512_setr_epi64(0, 0, 4, 4, 0, 0, 4, 4));
        return _mm512_and_si512(shifted, _mm512_set1_epi8(0x0f));
    }

    static __m512i start(__m512i) { return _mm512_setzero_si512(); }

    static ColumnScale column_scale(const Column & column) { return scale_of(column); }
};

// The instruction wants unsigned weights, so these are raised by 128, and the sums start from -128 times the column's values.
struct Q8_0 : EightByFour {
    using Row    = block_q8_0;
    using Column = block_q8_0;
    static constexpr bool has_minimum = false;

    static __m512 scales(const Row * const rows[tile_rows], int64_t block) { return leading_floats<uint16_t>(rows, block); }

    static __m512i values(const Row & row0, const Row & row1) {
        const __m512i both = _mm512_inserti64x4(_mm512_castsi256_si512(load32(row0.qs)), load32(row1.qs), 1);
        return _mm512_xor_si512(both, _mm512_set1_epi8(-128));
    }

    static __m512i start(__m512i column) {
        const __m512i zero = _mm512_setzero_si512();
        return _mm512_sub_epi32(zero, _mm512_dpbusd_epi32(zero, _mm512_set1_epi8(-128), column));
    }

    static ColumnScale column_scale(const Column & column) { return {_cvtsh_ss(read<uint16_t>(&column)), 0}; }
};

template <class Format, int n_columns> inline __attribute__((always_inline)) void multiply_tile(const Tile<Format> & tile) {
    const __m512i odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 0, 0, 0, 0, 0, 0, 0, 0);
    __m512 sums[tile_pairs][n_columns];
    __m256 minima[n_columns];
    for (int column = 0; column < n_columns; ++column) {
        minima[column] = _mm256_setzero_ps();
        for (int pair = 0; pair < tile_pairs; ++pair) {
            sums[pair][column] = _mm512_setzero_ps();
        }
    }
    for (int64_t block = 0; block < tile.n_blocks; ++block) {
        tile.prefetch(block);
        const __m512        row_scales    = Format::scales(tile.rows, block);
        const __m256        row_minima    = _mm512_castps512_ps256(_mm512_permutexvar_ps(odd, row_scales));
        const ColumnScale * column_scales = tile.column_scales + block;
        __m512i values[n_columns];
        __m512i starts[n_columns];
#pragma GCC unroll 8
        for (int column = 0; column < n_columns; ++column) {
            values[column] = _mm512_broadcast_i64x4(load32(tile.columns[column * tile.column_stride + block].qs));
            starts[column] = Format::start(values[column]);
            if (Format::has_minimum) {
                const __m256 sum = _mm256_set1_ps(column_scales[column * tile.n_blocks].sum);
                minima[column]   = _mm256_fmadd_ps(row_minima, sum, minima[column]);
            }
        }
#pragma GCC unroll 8
        for (int pair = 0; pair < tile_pairs; ++pair) {
            const __m512i places  = _mm512_inserti64x4(_mm512_set1_epi32(4 * pair), _mm256_set1_epi32(4 * pair + 2), 1);
            const __m512  scales  = _mm512_permutexvar_ps(places, row_scales);
            const __m512i weights = Format::values(tile.rows[2 * pair][block], tile.rows[2 * pair + 1][block]);
#pragma GCC unroll 8
            for (int column = 0; column < n_columns; ++column) {
                const __m512i products = _mm512_dpbusd_epi32(starts[column], weights, values[column]);
                const __m512  scale    = _mm512_mul_ps(scales, _mm512_set1_ps(column_scales[column * tile.n_blocks].d));
                sums[pair][column]     = _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(products), sums[pair][column]);
            }
        }
    }
    for (int column = 0; column < n_columns; ++column) {
        float results[tile_rows];
        float minimum[tile_rows];
        _mm256_storeu_ps(minimum, minima[column]);
        for (int pair = 0; pair < tile_pairs; ++pair) {
            results[2 * pair]     = sum_of_eight(_mm512_castps512_ps256(sums[pair][column]));
            results[2 * pair + 1] = sum_of_eight(_mm512_extractf32x8_ps(sums[pair][column], 1));
        }
        for (int row = 0; row < tile.n_rows; ++row) {
            tile.results[column * tile.result_stride + row] = Format::has_minimum ? results[row] + minimum[row] : results[row];
        }
    }
}

}  // namespace
