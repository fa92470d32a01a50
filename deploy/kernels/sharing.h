// How threads share the work of an operation.

#pragma once

#include <cstdint>

#include "ggml-cpu-impl.h"
#include "ggml.h"

namespace {

// Do each of `n` pieces once. Threads take them as they come to them: one whose core others use as well must not hold up the rest.
template <class Do> inline void share_out(const ggml_compute_params * params, int64_t n, const Do & piece) {
    if (params->ith == 0) {
        ggml_threadpool_chunk_set(params->threadpool, params->nth);
    }
    ggml_barrier(params->threadpool);
    for (int64_t at = params->ith; at < n; at = ggml_threadpool_chunk_add(params->threadpool, 1)) {
        piece(at);
    }
}

}  // namespace
