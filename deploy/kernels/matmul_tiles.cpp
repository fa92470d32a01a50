// Matrix products with Q4_1 and Q8_0 weights on x86-64 with AVX-512 VNNI, a tile of rows and columns at a time.
//
// llama.cpp multiplies Q4_1 one row by one column, unpacking each weight anew for every column, and one sum waits for the
// last; for Q8_0 it has tiles, in half this register width. Here a weight is unpacked once for four columns, two rows share
// a 512-bit register, and eight rows are in flight. Each sum is still made of the same products in the same order as
// llama.cpp's (eight partial sums, block after block, added in the same tree), so every result has the same bits.
//
// The linker sends ggml's calls of llamafile_sgemm here (--wrap, kernels.cmake); what is not ours goes on to the original.
// Formats: block_q4_1, block_q8_0, block_q8_1 in ggml-common.h; 32 values a block, d the scale, m the minimum.

#include <immintrin.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#define GGML_COMMON_DECL_CPP
#include "ggml-common.h"
#include "ggml-cpu-impl.h"
#include "ggml.h"

// c[column * ldc + row] = a[row * lda ...] . b[column * ldb ...], for m rows and n columns of k blocks; strides of a and b are
// in blocks. Called by all nth threads, each for its share; false where the product is not served.
extern "C" bool __real_llamafile_sgemm(const ggml_compute_params * params, int64_t m, int64_t n, int64_t k, const void * a,
                                       int64_t lda, const void * b, int64_t ldb, void * c, int64_t ldc, int a_type,
                                       int b_type, int c_type);
extern "C" bool __wrap_llamafile_sgemm(const ggml_compute_params * params, int64_t m, int64_t n, int64_t k, const void * a,
                                       int64_t lda, const void * b, int64_t ldb, void * c, int64_t ldc, int a_type,
                                       int b_type, int c_type);

#if defined(__AVX512F__) && defined(__AVX512DQ__) && defined(__AVX512VL__) && defined(__AVX512VNNI__) && defined(__F16C__)
#define LLAMACTOR_TILES

// GCC 12 takes the undefined registers in its own header's masked intrinsics for mistakes.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

namespace {

constexpr int tile_rows     = 8;
constexpr int tile_pairs    = tile_rows / 2;
constexpr int tile_columns  = 4;
constexpr int panel_columns = 64;             // as many columns have their scales unpacked at once
constexpr int rows_ahead    = 2 * tile_rows;  // whose blocks are prefetched

template <class T> inline T read(const void * from) {
    T value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

inline __m256i load32(const void * from) {
    return _mm256_loadu_si256(static_cast<const __m256i *>(from));
}

// The 16-bit floats at the start of one block of eight rows: of each row the low half of `T`, then its high half.
template <class T, class Row> inline __m512 leading_floats(const Row * const rows[tile_rows], int64_t block) {
    const auto four = [&](int first) {
        return _mm_setr_epi32(read<T>(rows[first] + block), read<T>(rows[first + 1] + block), read<T>(rows[first + 2] + block),
                              read<T>(rows[first + 3] + block));
    };
    return _mm512_cvtph_ps(_mm256_set_m128i(four(4), four(0)));
}

struct ColumnScale {
    float d;
    float sum;  // d times the sum of the block's values
};

// A weight format says: the block types of rows and columns; whether rows have minima; of eight rows their scales (at even
// places) and minima (odd); of two rows their values as unsigned bytes, row 0 in the lower half of the register; the integers
// that a column's sums of products start from; and a column's scale.
struct Q4_1 {
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

    static ColumnScale column_scale(const Column & column) {
        return {_cvtsh_ss(read<uint16_t>(&column)), _cvtsh_ss(read<uint16_t>(reinterpret_cast<const char *>(&column) + 2))};
    }
};

// The instruction wants unsigned weights, so these are raised by 128, and the sums start from -128 times the column's values.
struct Q8_0 {
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

inline float sum_of_eight(__m256 x) {
    __m128 sum = _mm_add_ps(_mm256_extractf128_ps(x, 1), _mm256_castps256_ps128(x));
    sum        = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
    return _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
}

template <class Format> struct Tile {
    const typename Format::Row *    rows[tile_rows];  // the last one again where there are fewer
    int                             n_rows;
    int64_t                         n_blocks;
    const typename Format::Column * columns;
    int64_t                         column_stride;  // blocks
    const ColumnScale *             column_scales;  // n_blocks of each column
    float *                         results;
    int64_t                         result_stride;  // floats
    bool                            prefetches;
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
        if (tile.prefetches) {
            for (int row = 0; row < tile_rows; ++row) {
                _mm_prefetch(reinterpret_cast<const char *>(tile.rows[row] + block + rows_ahead * tile.n_blocks), _MM_HINT_T0);
            }
        }
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

template <class Format> void multiply_tile(const Tile<Format> & tile, int64_t n_columns) {
    switch (n_columns) {
        case 1: return multiply_tile<Format, 1>(tile);
        case 2: return multiply_tile<Format, 2>(tile);
        case 3: return multiply_tile<Format, 3>(tile);
        default: return multiply_tile<Format, tile_columns>(tile);
    }
}

template <class Format>
void multiply(const ggml_compute_params * params, int64_t m, int64_t n, int64_t k, const void * a, int64_t lda, const void * b,
              int64_t ldb, void * c, int64_t ldc) {
    static thread_local std::vector<ColumnScale> scales;  // panel_columns * k at most
    const auto *  rows    = static_cast<const typename Format::Row *>(a);
    const auto *  columns = static_cast<const typename Format::Column *>(b);
    const int64_t n_tiles = (m + tile_rows - 1) / tile_rows;
    for (int64_t panel = 0; panel < n; panel += panel_columns) {
        const int64_t panel_end = std::min(n, panel + panel_columns);
        scales.clear();
        for (int64_t column = panel; column < panel_end; ++column) {
            for (int64_t block = 0; block < k; ++block) {
                scales.push_back(Format::column_scale(columns[column * ldb + block]));
            }
        }
        for (int64_t at = n_tiles * params->ith / params->nth; at < n_tiles * (params->ith + 1) / params->nth; ++at) {
            const int64_t first = at * tile_rows;
            Tile<Format>  tile;
            tile.n_rows        = static_cast<int>(std::min<int64_t>(tile_rows, m - first));
            tile.n_blocks      = k;
            tile.column_stride = ldb;
            tile.result_stride = ldc;
            for (int row = 0; row < tile_rows; ++row) {
                tile.rows[row] = rows + (first + std::min(row, tile.n_rows - 1)) * lda;
            }
            for (int64_t column = panel; column < panel_end; column += tile_columns) {
                tile.columns       = columns + column * ldb;
                tile.column_scales = &scales[(column - panel) * k];
                tile.results       = static_cast<float *>(c) + column * ldc + first;
                tile.prefetches    = column == panel;
                multiply_tile(tile, std::min<int64_t>(tile_columns, panel_end - column));
            }
        }
    }
}

}  // namespace
#endif

bool __wrap_llamafile_sgemm(const ggml_compute_params * params, int64_t m, int64_t n, int64_t k, const void * a, int64_t lda,
                            const void * b, int64_t ldb, void * c, int64_t ldc, int a_type, int b_type, int c_type) {
#ifdef LLAMACTOR_TILES
    if (a_type == GGML_TYPE_Q4_1 && b_type == GGML_TYPE_Q8_1 && c_type == GGML_TYPE_F32) {
        multiply<Q4_1>(params, m, n, k, a, lda, b, ldb, c, ldc);
        return true;
    }
    if (a_type == GGML_TYPE_Q8_0 && b_type == GGML_TYPE_Q8_0 && c_type == GGML_TYPE_F32) {
        multiply<Q8_0>(params, m, n, k, a, lda, b, ldb, c, ldc);
        return true;
    }
#endif
    return __real_llamafile_sgemm(params, m, n, k, a, lda, b, ldb, c, ldc, a_type, b_type, c_type);
}
