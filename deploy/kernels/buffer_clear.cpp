// Clears a cache with several threads.
//
// llama.cpp zeroes each cache that it makes in one piece. That is fresh memory, of which the kernel gives a page at the first
// touch, so that the time goes there, and is shared by all processors that touch at once.
//
// The linker sends the library's calls here (--wrap, kernels.cmake); what is not ours goes on to the original.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <system_error>
#include <thread>
#include <vector>

#include "ggml-backend.h"

extern "C" void __real_ggml_backend_buffer_clear(ggml_backend_buffer_t buffer, uint8_t value);
extern "C" void __wrap_ggml_backend_buffer_clear(ggml_backend_buffer_t buffer, uint8_t value);

namespace {

constexpr size_t   least_part_bytes = 4 << 20;  // some milliseconds
constexpr unsigned most_threads     = 8;

void clear(char * data, size_t size, uint8_t value) {
    const size_t n_threads = std::clamp(std::thread::hardware_concurrency(), 1U, most_threads);
    const size_t n_parts   = std::clamp<size_t>(size / least_part_bytes, 1, n_threads);
    const auto   begin     = [&](size_t part) { return size / n_parts * part; };
    size_t       part      = 1;
    std::vector<std::thread> others;
    try {
        for (; part < n_parts; ++part) {
            others.emplace_back(std::memset, data + begin(part - 1), value, begin(1));
        }
    } catch (const std::system_error &) {  // no more threads: the rest is done here
    }
    std::memset(data + begin(part - 1), value, size - begin(part - 1));
    for (std::thread & other : others) {
        other.join();
    }
}

}  // namespace

void __wrap_ggml_backend_buffer_clear(ggml_backend_buffer_t buffer, uint8_t value) {
    void * const data = ggml_backend_buffer_is_host(buffer) ? ggml_backend_buffer_get_base(buffer) : nullptr;
    if (data) {
        clear(static_cast<char *>(data), ggml_backend_buffer_get_size(buffer), value);
    } else {
        __real_ggml_backend_buffer_clear(buffer, value);
    }
}
