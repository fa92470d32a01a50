# Adds our kernels to ggml's CPU backend, and what makes a load quicker to llama.cpp's library. CMake reads this file at
# `project("ggml")` (CMAKE_PROJECT_ggml_INCLUDE), when neither is defined, so the work is put off to the end of all.
set(LLAMACTOR_KERNELS "${CMAKE_CURRENT_LIST_DIR}" CACHE INTERNAL "where this file lies, for the folders above")

function(llamactor_add_to library source)
    target_sources(${library} PRIVATE "${LLAMACTOR_KERNELS}/${source}")
    foreach(symbol IN LISTS ARGN)
        target_link_options(${library} PRIVATE "LINKER:--wrap=${symbol}")
    endforeach()
endfunction()

function(llamactor_add_kernels)
    if(NOT (CMAKE_SYSTEM_NAME STREQUAL "Linux" AND CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64"))
        return()
    endif()
    if(TARGET llama)
        llamactor_add_to(llama model_loader.cpp
            _Z14gguf_kv_to_strB5cxx11PK12gguf_contexti __isoc99_sscanf __isoc23_sscanf)
        llamactor_add_to(llama buffer_clear.cpp ggml_backend_buffer_clear)
    endif()
    if(NOT TARGET ggml-cpu)
        return()
    endif()
    llamactor_add_to(ggml-cpu attention.cpp ggml_compute_forward_flash_attn_ext)
    llamactor_add_to(ggml-cpu gelu.cpp ggml_compute_forward_unary ggml_compute_forward_glu)
    if(GGML_LLAMAFILE)
        llamactor_add_to(ggml-cpu matmul_tiles.cpp llamafile_sgemm)
    endif()
endfunction()

cmake_language(DEFER DIRECTORY "${CMAKE_SOURCE_DIR}" CALL llamactor_add_kernels)
