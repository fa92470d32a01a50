// Flash attention on x86-64 with AVX-512: few tokens go to attention_rows.h, many to attention_tiles.h.
//
// The linker sends ggml's calls of ggml_compute_forward_flash_attn_ext here (--wrap, kernels.cmake); what is not ours goes
// on to the original.

#include "ggml-cpu-impl.h"
#include "ggml.h"
#include "ops.h"

extern "C" void __real_ggml_compute_forward_flash_attn_ext(const ggml_compute_params * params, ggml_tensor * dst);
extern "C" void __wrap_ggml_compute_forward_flash_attn_ext(const ggml_compute_params * params, ggml_tensor * dst);

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#define LLAMACTOR_TILES

// GCC 12 takes the undefined registers in its own header's intrinsics for mistakes.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"

#include "attention_tiles.h"

#ifndef __AVX512FP16__  // with which llama.cpp adds values up in other steps, where it does not work in tiles
#define LLAMACTOR_ROWS
#include "attention_rows.h"
#endif
#endif

void __wrap_ggml_compute_forward_flash_attn_ext(const ggml_compute_params * params, ggml_tensor * dst) {
#ifdef LLAMACTOR_ROWS
    const AttentionByRows by_rows(params, dst);
    if (by_rows.is_ours()) {
        by_rows.compute();
        return;
    }
#endif
#ifdef LLAMACTOR_TILES
    const AttentionByTiles by_tiles(params, dst);
    if (by_tiles.is_ours()) {
        by_tiles.compute();
        return;
    }
#endif
    __real_ggml_compute_forward_flash_attn_ext(params, dst);
}
