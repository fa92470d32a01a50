// e^x of sixteen floats with the bits of glibc's expf.
//
// That is 2^(k/32) from a table times a cubic polynomial, in doubles, with fused operations. Another C library may do
// otherwise: `is_libm` tells whether its expf gives the same.

#pragma once

#include <immintrin.h>

#include <cmath>
#include <cstdint>
#include <cstring>

namespace {

class Exponential {
  public:
    Exponential() {
        for (int64_t at = 0; at < 32; ++at) {
            const double power = static_cast<double>(std::exp2(static_cast<long double>(at) / 32));
            std::memcpy(&powers[at], &power, sizeof power);
            powers[at] -= at << 47;
        }
        is_libm = agrees_with_libm();
    }

    // For x <= 0.
    __m512 of(__m512 x) const {
        const __m512 clamped = _mm512_max_ps(_mm512_set1_ps(-104), x);  // e^-104 rounds to 0; NaN stays
        const __m256 lower   = of(_mm512_castps512_ps256(clamped));
        const __m256 upper   = of(_mm512_extractf32x8_ps(clamped, 1));
        return _mm512_insertf32x8(_mm512_castps256_ps512(lower), upper, 1);
    }

    bool is_libm;

  private:
    alignas(64) int64_t powers[32];  // bits of 2^(k/32), less those that k adds to the exponent

    __m256 of(__m256 x) const {
        const __m512d wide    = _mm512_cvtps_pd(x);
        const __m512d per_ln2 = _mm512_set1_pd(0x1.71547652b82fep+0 * 32);
        const __m512d shift   = _mm512_set1_pd(0x1.8p+52);  // moves k into the last bits
        const __m512d shifted = _mm512_fmadd_pd(wide, per_ln2, shift);
        const __m512d rest    = _mm512_fmsub_pd(wide, per_ln2, _mm512_sub_pd(shifted, shift));
        const __m512i k       = _mm512_castpd_si512(shifted);
        const __m512i low     = _mm512_permutex2var_epi64(_mm512_load_si512(powers), k, _mm512_load_si512(powers + 8));
        const __m512i high    = _mm512_permutex2var_epi64(_mm512_load_si512(powers + 16), k, _mm512_load_si512(powers + 24));
        const __m512i power   = _mm512_mask_mov_epi64(low, _mm512_test_epi64_mask(k, _mm512_set1_epi64(16)), high);
        const __m512d scale   = _mm512_castsi512_pd(_mm512_add_epi64(power, _mm512_slli_epi64(k, 47)));
        const __m512d cubic   = _mm512_fmadd_pd(_mm512_set1_pd(0x1.c6af84b912394p-5 / 32 / 32 / 32), rest,
                                                _mm512_set1_pd(0x1.ebfce50fac4f3p-3 / 32 / 32));
        const __m512d linear  = _mm512_fmadd_pd(rest, _mm512_set1_pd(0x1.62e42ff0c52d6p-1 / 32), _mm512_set1_pd(1));
        const __m512d sum     = _mm512_fmadd_pd(cubic, _mm512_mul_pd(rest, rest), linear);
        return _mm512_cvtpd_ps(_mm512_mul_pd(sum, scale));
    }

    bool agrees_with_libm() const {
        for (int step = 0; step < 4096; step += 16) {
            float x[16];
            float ours[16];
            for (int lane = 0; lane < 16; ++lane) {
                x[lane] = static_cast<float>(step + lane) / -39;
            }
            _mm512_storeu_ps(ours, of(_mm512_loadu_ps(x)));
            for (int lane = 0; lane < 16; ++lane) {
                if (ours[lane] != expf(x[lane])) {
                    return false;
                }
            }
        }
        return true;
    }
};

}  // namespace
