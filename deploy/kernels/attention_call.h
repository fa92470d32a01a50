// One call of llama.cpp's flash attention: its tensors, and what both of our kernels ask of them.

#pragma once

#include <cstdint>
#include <cstring>

#include "ggml-cpu-impl.h"
#include "ggml.h"

namespace {

struct AttentionCall {
    const ggml_compute_params * params;
    ggml_tensor *               dst;
    const ggml_tensor *         q;
    const ggml_tensor *         k;
    const ggml_tensor *         v;
    const ggml_tensor *         mask;

    AttentionCall(const ggml_compute_params * params, ggml_tensor * dst)
        : params(params), dst(dst), q(dst->src[0]), k(dst->src[1]), v(dst->src[2]), mask(dst->src[3]) {}

    // Neither sinks nor biases nor capped scores; 32-bit queries over 16-bit keys and values, in rows; one mask for all heads.
    bool is_plain() const {
        float options[3];  // scale, bias by distance, cap of scores
        std::memcpy(options, dst->op_params, sizeof options);
        const bool has_options = !params->use_ref && !dst->src[4] && options[1] == 0 && options[2] == 0;
        const bool has_types   = q->type == GGML_TYPE_F32 && k->type == GGML_TYPE_F16 && v->type == GGML_TYPE_F16 &&
                               (!mask || mask->type == GGML_TYPE_F16);
        const bool has_sizes = k->ne[2] == v->ne[2] && k->ne[3] == v->ne[3] && (!mask || mask->ne[2] == 1);
        const bool has_order = q->nb[0] == sizeof(float) && k->nb[0] == sizeof(ggml_fp16_t) &&
                               v->nb[0] == sizeof(ggml_fp16_t) && (!mask || mask->nb[0] == sizeof(ggml_fp16_t)) &&
                               ggml_is_contiguous(dst);
        return has_options && has_types && has_sizes && has_order;
    }
};

}  // namespace
