# Adds our kernels to ggml's CPU backend. CMake reads this file at `project("ggml")` (CMAKE_PROJECT_ggml_INCLUDE), when the
# backend is not yet defined, so the work is put off to the end of that folder.
set(LLAMACTOR_KERNELS "${CMAKE_CURRENT_LIST_DIR}")

function(llamactor_add_kernel source)
    target_sources(ggml-cpu PRIVATE "${LLAMACTOR_KERNELS}/${source}")
    foreach(symbol IN LISTS ARGN)
        target_link_options(ggml-cpu PRIVATE "LINKER:--wrap=${symbol}")
    endforeach()
endfunction()

function(llamactor_add_kernels)
    if(NOT (CMAKE_SYSTEM_NAME STREQUAL "Linux" AND CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64" AND TARGET ggml-cpu))
        return()
    endif()
    llamactor_add_kernel(attention.cpp ggml_compute_forward_flash_attn_ext)
    llamactor_add_kernel(gelu.cpp ggml_compute_forward_unary ggml_compute_forward_glu)
    if(GGML_LLAMAFILE)
        llamactor_add_kernel(matmul_tiles.cpp llamafile_sgemm)
    endif()
endfunction()

cmake_language(DEFER CALL llamactor_add_kernels)
