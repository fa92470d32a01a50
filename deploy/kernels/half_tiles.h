// Products of 16-bit floats, a tile of four rows and six columns at a time, in registers of 512 bits: AVX-512.
//
// llama.cpp rounds the columns to 16 bits in a pass of its own, and converts both sides to 32 bits anew in each of its tiles, ten
// conversions for 24 products. Here the columns of a tile are rounded and converted once for many rows; they stay in the
// first-level cache, and the rows come as they are. Each result is still made of sixteen sums of the same products in the same
// order, added in the same tree, so that it has the same bits.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "ggml-cpu-impl.h"
#include "ggml.h"
#include "sharing.h"

namespace {

constexpr int     half_lanes       = 16;
constexpr int     half_rows        = 4;
constexpr int     half_columns     = 6;
constexpr int64_t half_job_rows    = 24 * half_rows;  // what a thread takes at once
constexpr int64_t half_job_columns = 8 * half_columns;

// What one register holds.
struct alignas(64) Floats {
    float values[half_lanes];
};

inline __m512 widened(const ggml_fp16_t * from) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(from)));
}

// Rounded to 16 bits on the way, as llama.cpp does in a pass of its own.
inline __m512 widened(const float * from) {
    return _mm512_cvtph_ps(_mm512_cvtps_ph(_mm512_loadu_ps(from), _MM_FROUND_TO_NEAREST_INT));
}

// Add up each of four registers: halves, halves of those, and so on.
inline __m128 sums_of_four(__m512 a, __m512 b, __m512 c, __m512 d) {
    const auto folded = [](__m512 x, __m512 y) {
        return _mm512_add_ps(_mm512_shuffle_f32x4(x, y, 0x44), _mm512_shuffle_f32x4(x, y, 0xee));
    };
    const __m512 ab   = folded(a, b);
    const __m512 cd   = folded(c, d);
    __m512       sums = _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
    sums              = _mm512_add_ps(sums, _mm512_permute_ps(sums, 0x4e));
    sums              = _mm512_add_ps(sums, _mm512_permute_ps(sums, 0xb1));
    const __m512i places = _mm512_setr_epi32(0, 4, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    return _mm512_castps512_ps128(_mm512_permutexvar_ps(places, sums));
}

// Four rows, so many halves apart, and a few columns of so many blocks each, one after the other.
template <int n_columns>
inline void multiply_half_tile(const ggml_fp16_t * rows, int64_t row_stride, const Floats * columns, int64_t n_blocks,
                               float * results, int64_t result_stride) {
    __m512 sums[n_columns][half_rows];
#pragma GCC unroll 6
    for (int column = 0; column < n_columns; ++column) {
        std::fill_n(sums[column], half_rows, _mm512_setzero_ps());
    }
    for (int64_t block = 0; block < n_blocks; ++block) {
        __m512 row[half_rows];
#pragma GCC unroll 4
        for (int which = 0; which < half_rows; ++which) {
            row[which] = widened(rows + which * row_stride + block * half_lanes);
        }
#pragma GCC unroll 6
        for (int column = 0; column < n_columns; ++column) {
            __m512 values = _mm512_load_ps(columns[column * n_blocks + block].values);
            asm("" : "+v"(values));  // else it is loaded anew for each product
#pragma GCC unroll 4
            for (int which = 0; which < half_rows; ++which) {
                sums[column][which] = _mm512_fmadd_ps(row[which], values, sums[column][which]);
            }
        }
    }
#pragma GCC unroll 6  // else the sums are kept in memory
    for (int column = 0; column < n_columns; ++column) {
        const __m512 * its = sums[column];
        _mm_storeu_ps(results + column * result_stride, sums_of_four(its[0], its[1], its[2], its[3]));
    }
}

inline void multiply_half_tile(int64_t n_columns, const ggml_fp16_t * rows, int64_t row_stride, const Floats * columns,
                               int64_t n_blocks, float * results, int64_t result_stride) {
    static_assert(half_columns == 6, "further cases would be missing");
    switch (n_columns) {
        case 1: return multiply_half_tile<1>(rows, row_stride, columns, n_blocks, results, result_stride);
        case 2: return multiply_half_tile<2>(rows, row_stride, columns, n_blocks, results, result_stride);
        case 3: return multiply_half_tile<3>(rows, row_stride, columns, n_blocks, results, result_stride);
        case 4: return multiply_half_tile<4>(rows, row_stride, columns, n_blocks, results, result_stride);
        case 5: return multiply_half_tile<5>(rows, row_stride, columns, n_blocks, results, result_stride);
        default: return multiply_half_tile<6>(rows, row_stride, columns, n_blocks, results, result_stride);
    }
}

// Products that llama.cpp, too, makes in tiles; others it sums up in another order.
inline bool has_half_tiles(int64_t m, int64_t n, int64_t k) {
    return n > 1 && m % half_rows == 0 && k % half_lanes == 0;
}

template <class Column>
inline void widen_columns(const Column * from, int64_t stride, int64_t n_columns, int64_t n_blocks, Floats * to) {
    for (int64_t column = 0; column < n_columns; ++column, from += stride, to += n_blocks) {
        for (int64_t block = 0; block < n_blocks; ++block) {
            _mm512_store_ps(to[block].values, widened(from + block * half_lanes));
        }
    }
}

template <class Column>
inline void multiply_halves(const ggml_compute_params * params, int64_t m, int64_t n, int64_t k, const ggml_fp16_t * a, int64_t lda,
                            const Column * b, int64_t ldb, float * c, int64_t ldc) {
    static thread_local std::vector<Floats> columns;
    const int64_t n_blocks   = k / half_lanes;
    const int64_t n_row_jobs = (m + half_job_rows - 1) / half_job_rows;
    const int64_t n_jobs     = n_row_jobs * ((n + half_job_columns - 1) / half_job_columns);
    columns.resize(half_columns * n_blocks);
    Floats * const widened_columns = columns.data();
    share_out(params, n_jobs, [&](int64_t job) {
        const int64_t first_row    = job % n_row_jobs * half_job_rows;
        const int64_t end_row      = std::min(m, first_row + half_job_rows);
        const int64_t first_column = job / n_row_jobs * half_job_columns;
        const int64_t end_column   = std::min(n, first_column + half_job_columns);
        for (int64_t column = first_column; column < end_column; column += half_columns) {
            const int64_t n_columns = std::min<int64_t>(half_columns, end_column - column);
            widen_columns(b + column * ldb, ldb, n_columns, n_blocks, widened_columns);
            for (int64_t row = first_row; row < end_row; row += half_rows) {
                multiply_half_tile(n_columns, a + row * lda, lda, widened_columns, n_blocks, c + column * ldc + row, ldc);
            }
        }
    });
    ggml_barrier(params->threadpool);
}

}  // namespace
