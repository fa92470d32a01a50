// What llama.cpp's model loader does again and again, in less time: a small model spends a fifth of its load there.
//
// It writes each array of the file's metadata out whole, a vocabulary's hundred thousand texts among them, to log the first forty
// characters; here writing ends where the log does. And it sorts and finds tensors by their layer, which it reads from both
// names at each comparison with sscanf; here the one pattern that it reads so is read by hand.
//
// The linker sends the library's calls here (--wrap, kernels.cmake); what is not ours goes on to the original.

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>

#include "gguf.h"

extern "C" int __wrap___isoc99_sscanf(const char * text, const char * format, ...);
extern "C" int __wrap___isoc23_sscanf(const char * text, const char * format, ...)
    __attribute__((alias("__wrap___isoc99_sscanf")));

#if defined(__GLIBCXX__) && _GLIBCXX_USE_CXX11_ABI  // whose name for the function this is
#define LLAMACTOR_KV_TO_STR "_Z14gguf_kv_to_strB5cxx11PK12gguf_contexti"

std::string real_kv_to_str(const gguf_context * metadata, int key) __asm__("__real_" LLAMACTOR_KV_TO_STR);
std::string kv_to_str(const gguf_context * metadata, int key) __asm__("__wrap_" LLAMACTOR_KV_TO_STR);

namespace {

constexpr size_t n_logged = 40;  // characters of a longer value

std::string quoted(const char * text) {
    std::string value = "\"";
    for (; *text; ++text) {
        if (*text == '\\' || *text == '"') {
            value += '\\';
        }
        value += *text;
    }
    return value + '"';
}

template <class T> std::string number(const void * data, size_t at) { return std::to_string(static_cast<const T *>(data)[at]); }

std::string element(const gguf_context * metadata, int key, size_t at) {
    const gguf_type    type = gguf_get_arr_type(metadata, key);
    const void * const data = type == GGUF_TYPE_STRING ? nullptr : gguf_get_arr_data(metadata, key);
    switch (type) {
        case GGUF_TYPE_STRING:  return quoted(gguf_get_arr_str(metadata, key, at));
        case GGUF_TYPE_UINT8:   return number<uint8_t>(data, at);
        case GGUF_TYPE_INT8:    return number<int8_t>(data, at);
        case GGUF_TYPE_UINT16:  return number<uint16_t>(data, at);
        case GGUF_TYPE_INT16:   return number<int16_t>(data, at);
        case GGUF_TYPE_UINT32:  return number<uint32_t>(data, at);
        case GGUF_TYPE_INT32:   return number<int32_t>(data, at);
        case GGUF_TYPE_UINT64:  return number<uint64_t>(data, at);
        case GGUF_TYPE_INT64:   return number<int64_t>(data, at);
        case GGUF_TYPE_FLOAT32: return number<float>(data, at);
        case GGUF_TYPE_FLOAT64: return number<double>(data, at);
        case GGUF_TYPE_BOOL:    return static_cast<const int8_t *>(data)[at] ? "true" : "false";
        default:                return "???";  // GGUF has no arrays of arrays
    }
}

}  // namespace

std::string kv_to_str(const gguf_context * metadata, int key) {
    if (gguf_get_kv_type(metadata, key) != GGUF_TYPE_ARRAY) {
        return real_kv_to_str(metadata, key);
    }
    const size_t n_elements = gguf_get_arr_n(metadata, key);
    std::string  value      = "[";
    for (size_t at = 0; at < n_elements && value.size() <= n_logged; ++at) {
        value += element(metadata, key, at);
        if (at + 1 < n_elements) {
            value += ", ";
        }
    }
    return value + "]";
}
#endif

namespace {

constexpr int    n_digits       = 9;  // which an int holds for certain
constexpr int    unread         = -2;
constexpr char   layer_format[] = "blk.%d.";
constexpr size_t n_before_layer = 4;

// Read the layer in a tensor's name; gives what sscanf gives, or `unread` for what sscanf should look at itself.
int read_layer(const char * name, int * layer) {
    if (*name == '\0' || std::strncmp(name, layer_format, n_before_layer) != 0) {
        return *name == layer_format[0] ? unread : *name == '\0' ? EOF : 0;
    }
    const char * const first = name + n_before_layer;
    const char *       at    = first;
    int                value = 0;
    for (; *at >= '0' && *at <= '9'; ++at) {
        if (at - first == n_digits) {
            return unread;
        }
        value = 10 * value + (*at - '0');
    }
    if (at == first) {
        return unread;
    }
    *layer = value;
    return 1;
}

int scan(const char * text, const char * format, va_list to) {
    if (std::strcmp(format, layer_format) == 0) {
        va_list copy;
        va_copy(copy, to);
        const int found = read_layer(text, va_arg(copy, int *));
        va_end(copy);
        if (found != unread) {
            return found;
        }
    }
    return std::vsscanf(text, format, to);
}

}  // namespace

int __wrap___isoc99_sscanf(const char * text, const char * format, ...) {
    va_list to;
    va_start(to, format);
    const int found = scan(text, format, to);
    va_end(to);
    return found;
}
