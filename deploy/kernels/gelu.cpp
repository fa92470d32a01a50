// GELU of 32-bit floats, alone or times a gate, on x86-64 with AVX2, eight at a time.
//
// llama.cpp rounds each number to 16 bits and looks its GELU up, one after the other, with branches for those beyond the table.
// Here eight are rounded and widened at once, and those beyond are chosen without a branch; only the looking up is single. The
// table is llama.cpp's own, so that every result has the same bits.
//
// The linker sends ggml's calls of ggml_compute_forward_unary and ggml_compute_forward_glu here (--wrap, kernels.cmake); what is
// not ours goes on to the original.

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "ggml-cpu-impl.h"
#include "ggml.h"
#include "ops.h"
#include "vec.h"

extern "C" void __real_ggml_compute_forward_unary(const ggml_compute_params * params, ggml_tensor * dst);
extern "C" void __wrap_ggml_compute_forward_unary(const ggml_compute_params * params, ggml_tensor * dst);
extern "C" void __real_ggml_compute_forward_glu(const ggml_compute_params * params, ggml_tensor * dst);
extern "C" void __wrap_ggml_compute_forward_glu(const ggml_compute_params * params, ggml_tensor * dst);

#if defined(__AVX2__) && defined(__F16C__) && defined(GGML_GELU_FP16)
#define LLAMACTOR_GELU

#include <immintrin.h>

namespace {

constexpr int64_t gelu_lanes = 8;

inline __m128i four_looked_up(uint64_t numbers, __m128i so_far) {
    so_far = _mm_insert_epi16(so_far, ggml_table_gelu_f16[numbers & 0xffff], 0);
    so_far = _mm_insert_epi16(so_far, ggml_table_gelu_f16[numbers >> 16 & 0xffff], 1);
    so_far = _mm_insert_epi16(so_far, ggml_table_gelu_f16[numbers >> 32 & 0xffff], 2);
    return _mm_insert_epi16(so_far, ggml_table_gelu_f16[numbers >> 48], 3);
}

inline __m256 eight_gelus(__m256 x, __m256 gates) {
    const __m128i halves = _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT);
    const __m128i lower  = four_looked_up(_mm_cvtsi128_si64(halves), _mm_setzero_si128());
    const __m128i upper  = four_looked_up(_mm_extract_epi64(halves, 1), _mm_setzero_si128());
    __m256        y      = _mm256_cvtph_ps(_mm_unpacklo_epi64(lower, upper));
    y                    = _mm256_blendv_ps(y, x, _mm256_cmp_ps(x, _mm256_set1_ps(10), _CMP_GE_OQ));
    return _mm256_andnot_ps(_mm256_cmp_ps(x, _mm256_set1_ps(-10), _CMP_LE_OQ), _mm256_mul_ps(y, gates));
}

// Times the gates, if there are any.
void gelus(float * to, const float * from, const float * gates, int64_t n) {
    const __m256 one = _mm256_set1_ps(1);
    int64_t      at  = 0;
    for (; at + gelu_lanes <= n; at += gelu_lanes) {
        _mm256_storeu_ps(to + at, eight_gelus(_mm256_loadu_ps(from + at), gates ? _mm256_loadu_ps(gates + at) : one));
    }
    if (at < n) {
        float rest[2][gelu_lanes] = {};
        std::memcpy(rest[0], from + at, (n - at) * sizeof(float));
        if (gates) {
            std::memcpy(rest[1], gates + at, (n - at) * sizeof(float));
        }
        _mm256_storeu_ps(rest[0], eight_gelus(_mm256_loadu_ps(rest[0]), gates ? _mm256_loadu_ps(rest[1]) : one));
        std::memcpy(to + at, rest[0], (n - at) * sizeof(float));
    }
}

void compute_share(const ggml_compute_params * params, ggml_tensor * dst) {
    const int64_t n_blocks = (ggml_nelements(dst) + gelu_lanes - 1) / gelu_lanes;
    const int64_t first    = n_blocks * params->ith / params->nth * gelu_lanes;
    const int64_t end      = std::min(ggml_nelements(dst), n_blocks * (params->ith + 1) / params->nth * gelu_lanes);
    const float * gates    = dst->src[1] ? static_cast<const float *>(dst->src[1]->data) + first : nullptr;
    gelus(static_cast<float *>(dst->data) + first, static_cast<const float *>(dst->src[0]->data) + first, gates, end - first);
}

bool is_flat(const ggml_tensor * tensor) { return tensor->type == GGML_TYPE_F32 && ggml_is_contiguous(tensor); }

}  // namespace
#endif

void __wrap_ggml_compute_forward_unary(const ggml_compute_params * params, ggml_tensor * dst) {
#ifdef LLAMACTOR_GELU
    if (ggml_get_unary_op(dst) == GGML_UNARY_OP_GELU && is_flat(dst) && is_flat(dst->src[0])) {
        compute_share(params, dst);
        return;
    }
#endif
    __real_ggml_compute_forward_unary(params, dst);
}

// Gates that follow in the same rows are left to llama.cpp.
void __wrap_ggml_compute_forward_glu(const ggml_compute_params * params, ggml_tensor * dst) {
#ifdef LLAMACTOR_GELU
    if (ggml_get_glu_op(dst) == GGML_GLU_OP_GEGLU && dst->src[1] && is_flat(dst) && is_flat(dst->src[0]) &&
        is_flat(dst->src[1])) {
        compute_share(params, dst);
        return;
    }
#endif
    __real_ggml_compute_forward_glu(params, dst);
}
