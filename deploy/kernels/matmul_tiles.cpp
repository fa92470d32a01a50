// Matrix products with Q4_1, Q8_0 and F16 weights on x86-64, a tile of rows and columns at a time.
//
// llama.cpp multiplies Q4_1 one row by one column, unpacking each weight anew for every column, and one sum waits for the
// last; for Q8_0 it has tiles, of 256 bits also where the processor has 512. Here a weight is unpacked once for all columns of
// a tile, and all its rows are in flight. Each sum is still made of the same products in the same order as llama.cpp's (eight
// partial sums, block after block, added in the same tree), so every result has the same bits. F16 is in half_tiles.h.
//
// The linker sends ggml's calls of llamafile_sgemm here (--wrap, kernels.cmake); what is not ours goes on to the original.
// Formats: block_q4_1, block_q8_0, block_q8_1 in ggml-common.h; 32 values a block, d the scale, m the minimum.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "ggml-cpu-impl.h"
#include "ggml.h"

#if defined(__AVX512F__)
#define LLAMACTOR_F16
#include "half_tiles.h"
#endif

#if defined(__AVX512F__) && defined(__AVX512DQ__) && defined(__AVX512VL__) && defined(__AVX512VNNI__) && defined(__F16C__)
#define LLAMACTOR_Q4_1
#define LLAMACTOR_Q8_0
#include "tile_avx512.h"
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#define LLAMACTOR_Q4_1
#include "tile_avx2.h"
#endif

// c[column * ldc + row] = a[row * lda ...] . b[column * ldb ...], for m rows and n columns of k blocks; strides of a and b are
// in blocks. Called by all nth threads, each for its share; false where the product is not served.
extern "C" bool __real_llamafile_sgemm(const ggml_compute_params * params, int64_t m, int64_t n, int64_t k, const void * a,
                                       int64_t lda, const void * b, int64_t ldb, void * c, int64_t ldc, int a_type,
                                       int b_type, int c_type);
extern "C" bool __wrap_llamafile_sgemm(const ggml_compute_params * params, int64_t m, int64_t n, int64_t k, const void * a,
                                       int64_t lda, const void * b, int64_t ldb, void * c, int64_t ldc, int a_type,
                                       int b_type, int c_type);

#ifdef LLAMACTOR_Q4_1
namespace {

constexpr int panel_columns = 64;  // as many columns have their scales unpacked at once

template <class Format> void multiply_tile(const Tile<Format> & tile, int64_t n_columns) {
    static_assert(Format::tile_columns <= 4, "further cases would be missing");
    switch (n_columns) {
        case 1: return multiply_tile<Format, 1>(tile);
        case 2: return multiply_tile<Format, 2>(tile);
        case 3: return multiply_tile<Format, 3>(tile);
        default: return multiply_tile<Format, Format::tile_columns>(tile);
    }
}

template <class Format>
void multiply(const ggml_compute_params * params, int64_t m, int64_t n, int64_t k, const void * a, int64_t lda, const void * b,
              int64_t ldb, void * c, int64_t ldc) {
    constexpr int tile_rows = Format::tile_rows, tile_columns = Format::tile_columns;
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
#ifdef LLAMACTOR_Q4_1
    if (a_type == GGML_TYPE_Q4_1 && b_type == GGML_TYPE_Q8_1 && c_type == GGML_TYPE_F32) {
        multiply<Q4_1>(params, m, n, k, a, lda, b, ldb, c, ldc);
        return true;
    }
#endif
#ifdef LLAMACTOR_Q8_0
    if (a_type == GGML_TYPE_Q8_0 && b_type == GGML_TYPE_Q8_0 && c_type == GGML_TYPE_F32) {
        multiply<Q8_0>(params, m, n, k, a, lda, b, ldb, c, ldc);
        return true;
    }
#endif
#ifdef LLAMACTOR_F16
    if (a_type == GGML_TYPE_F16 && c_type == GGML_TYPE_F32 && has_half_tiles(m, n, k)) {
        const auto * rows    = static_cast<const ggml_fp16_t *>(a);
        auto *       results = static_cast<float *>(c);
        if (b_type == GGML_TYPE_F16) {
            multiply_halves(params, m, n, k, rows, lda, static_cast<const ggml_fp16_t *>(b), ldb, results, ldc);
            return true;
        }
        if (b_type == GGML_TYPE_F32) {  // ggml asks before it rounds them
            multiply_halves(params, m, n, k, rows, lda, static_cast<const float *>(b), ldb, results, ldc);
            return true;
        }
    }
#endif
    return __real_llamafile_sgemm(params, m, n, k, a, lda, b, ldb, c, ldc, a_type, b_type, c_type);
}
