// Flash attention over f16 keys and values for fewer queries than llama.cpp tiles, on x86-64 with AVX-512.
//
// llama.cpp takes one query head and one cell at a time: each cell's score waits for a sum across a register and for expf,
// and heads that share keys and values load them anew. Here sixteen cells go together: keys and values are unpacked once for
// up to four heads, sums across registers and exponentials are made for all sixteen at once, and all KV heads of a cell are
// read one after the other, as they lie in memory. Each number is still made by the same operations in the same order as
// llama.cpp's (products added in the same tree, the maximum cell by cell, values added up in f16), so every result has the
// same bits.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "attention_block.h"
#include "attention_call.h"
#include "common.h"
#include "ggml-cpu-impl.h"
#include "ggml.h"
#include "sharing.h"

namespace {

constexpr int listed_cells = 512;  // looked up in the mask at once
constexpr int unit_parts   = 8;    // of at most max_heads query heads each

const Exponential exponential;

// Cells that a query sees, in order, with their masks.
struct Cells {
    int32_t at[listed_cells + 2 * n_lanes] = {};
    float   mask[listed_cells + 2 * n_lanes];
    int     count = 0;

    void list(const ggml_fp16_t * masks, int64_t first, int64_t end) {
        const __m512i places = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        for (int64_t cell = first; cell < end; cell += n_lanes) {
            __mmask16 seen   = static_cast<__mmask16>(end - cell < n_lanes ? (1 << (end - cell)) - 1 : 0xffff);
            __m512    values = _mm512_setzero_ps();
            if (masks) {
                const __m256i packed    = _mm256_maskz_loadu_epi16(seen, masks + cell);
                const __m256i minus_inf = _mm256_set1_epi16(static_cast<short>(0xfc00));
                seen                    = _mm256_mask_cmpneq_epi16_mask(seen, packed, minus_inf);
                values                  = _mm512_cvtph_ps(packed);
            }
            const __m512i cells = _mm512_add_epi32(_mm512_set1_epi32(static_cast<int>(cell)), places);
            _mm512_storeu_si512(at + count, _mm512_maskz_compress_epi32(seen, cells));
            _mm512_storeu_ps(mask + count, _mm512_maskz_compress_ps(seen, values));
            count += __builtin_popcount(seen);
        }
    }

    void drop(int n_done) {
        count -= n_done;
        std::memmove(at, at + n_done, count * sizeof *at);
        std::memmove(mask, mask + n_done, count * sizeof *mask);
    }
};

// One call: its tensors, and how the work is cut. Every thread cuts alike.
class AttentionByRows : private AttentionCall {
  public:
    AttentionByRows(const ggml_compute_params * params, ggml_tensor * dst)
        : AttentionCall(params, dst) {
        const auto ceil = [](int64_t a, int64_t b) { return (a + b - 1) / b; };
        const int64_t enough = params->nth;  // units: more would read less in a row
        std::memcpy(&scale, dst->op_params, sizeof scale);
        is_split = q->ne[1] == 1 && q->ne[3] == 1 && k->ne[1] >= 512;
        n_chunks = is_split ? params->nth : 1;
        chunk    = ceil(k->ne[1], n_chunks);
        sharing  = q->ne[2] / k->ne[2];
        const int64_t n_rows = n_chunks * q->ne[3] * q->ne[1];
        const int64_t wanted = std::min(sharing, std::max(ceil(sharing, max_heads), ceil(enough, n_rows * k->ne[2])));
        together = ceil(sharing, wanted);
        per_head = ceil(sharing, together);
        n_parts  = per_head * k->ne[2];
        n_sets   = std::min(n_parts, std::max(ceil(n_parts, unit_parts), ceil(enough, n_rows)));
        n_units  = n_rows * n_sets;
    }

    bool is_ours() const {
        const bool has_sizes =
            k->ne[0] % step == 0 && v->ne[0] % step == 0 && q->ne[1] < static_cast<int64_t>(ggml_fa_tile_config::Q);
        return exponential.is_libm && is_plain() && has_sizes && has_room();
    }

    void compute() const {
        share_out(params, n_units, [&](int64_t unit) { compute_unit(unit); });
        if (is_split) {
            ggml_barrier(params->threadpool);
            join();
        }
    }

  private:
    float                       scale;
    bool                        is_split;  // as in llama.cpp: cells are cut by the number of threads, results joined
    int64_t                     n_chunks;
    int64_t                     chunk;     // cells
    int64_t                     sharing;   // query heads of a KV head
    int64_t                     together;  // of these in one part
    int64_t                     per_head;  // parts
    int64_t                     n_parts;
    int64_t                     n_sets;    // of parts, each a unit
    int64_t                     n_units;

    bool has_room() const {
        const int64_t n_partials = is_split ? q->ne[2] * n_chunks : 0;
        const int64_t n_floats   = params->nth * scratch_floats() + n_partials * partial_floats();
        return n_floats * sizeof(float) <= params->wsize;
    }

    int64_t scratch_floats() const { return unit_parts * max_heads * (k->ne[0] + v->ne[0]) + n_lanes; }

    int64_t partial_floats() const { return 2 + v->ne[0]; }

    template <class T> static const T * at(const ggml_tensor * tensor, int64_t i1, int64_t i2, int64_t i3) {
        return reinterpret_cast<const T *>(static_cast<const char *>(tensor->data) + i1 * tensor->nb[1] + i2 * tensor->nb[2] +
                                           i3 * tensor->nb[3]);
    }

    void compute_unit(int64_t unit) const {
        const int64_t set    = unit % n_sets;
        const int64_t token  = unit / n_sets % q->ne[1];
        const int64_t stream = unit / n_sets / q->ne[1] % q->ne[3];
        const int64_t number = unit / n_sets / q->ne[1] / q->ne[3];
        const int64_t first  = n_parts * set / n_sets;
        const int64_t end    = n_parts * (set + 1) / n_sets;
        Head heads[unit_parts * max_heads];
        prepare(heads, token, stream, first, end);
        Cells cells;
        const ggml_fp16_t * masks = mask ? at<ggml_fp16_t>(mask, token, 0, stream % mask->ne[3]) : nullptr;
        const int64_t last = std::min(k->ne[1], (number + 1) * chunk);
        for (int64_t cell = number * chunk; cell < last; cell += listed_cells) {
            cells.list(masks, cell, std::min(last, cell + listed_cells));
            int done = 0;
            for (; done + n_lanes <= cells.count; done += n_lanes) {
                attend(heads, stream, first, end, cells.at + done, cells.mask + done, n_lanes);
            }
            cells.drop(done);
        }
        if (cells.count) {
            std::fill(cells.at + cells.count, cells.at + n_lanes, cells.at[0]);
            attend(heads, stream, first, end, cells.at, cells.mask, cells.count);
        }
        finish(heads, token, stream, number, first, end);
    }

    int64_t first_head(int64_t part) const { return part / per_head * sharing + part % per_head * together; }

    int64_t n_heads(int64_t part) const { return std::min(together, sharing - part % per_head * together); }

    void prepare(Head * heads, int64_t token, int64_t stream, int64_t first, int64_t end) const {
        float * scratch = static_cast<float *>(params->wdata) + params->ith * scratch_floats();
        scratch += -(reinterpret_cast<uintptr_t>(scratch) / sizeof(float)) % n_lanes;
        const int64_t end_head = first_head(end - 1) + n_heads(end - 1);
        for (int64_t head = first_head(first); head < end_head; ++head, ++heads) {
            *heads = {scratch, scratch + k->ne[0], -INFINITY, 0};
            const float * from = at<float>(q, token, head, stream);
            for (int64_t place = 0; place < k->ne[0]; place += n_lanes) {
                _mm512_store_ps(heads->query + place, rounded_to_f16(_mm512_loadu_ps(from + place)));
            }
            std::memset(heads->result, 0, v->ne[0] * sizeof(float));
            scratch += k->ne[0] + v->ne[0];
        }
    }

    void attend(Head * heads, int64_t stream, int64_t first, int64_t end, const int32_t * cells, const float * masks,
                int n_seen) const {
        const int64_t kv = stream / (q->ne[3] / k->ne[3]);
        for (int64_t part = first; part < end; ++part) {
            const int64_t kv_head = part / per_head;
            const Column keys{at<char>(k, 0, kv_head, kv), static_cast<int64_t>(k->nb[1]), k->ne[0]};
            const Column values{at<char>(v, 0, kv_head, kv), static_cast<int64_t>(v->nb[1]), v->ne[0]};
            switch (n_heads(part)) {
                case 1: Block<1>(exponential, keys, values, heads, scale).attend(cells, masks, n_seen); break;
                case 2: Block<2>(exponential, keys, values, heads, scale).attend(cells, masks, n_seen); break;
                case 3: Block<3>(exponential, keys, values, heads, scale).attend(cells, masks, n_seen); break;
                default: Block<4>(exponential, keys, values, heads, scale).attend(cells, masks, n_seen); break;
            }
            heads += n_heads(part);
        }
    }

    void finish(const Head * heads, int64_t token, int64_t stream, int64_t number, int64_t first, int64_t end) const {
        const int64_t end_head = first_head(end - 1) + n_heads(end - 1);
        for (int64_t head = first_head(first); head < end_head; ++head, ++heads) {
            if (is_split) {
                float * to = partial(head, number);
                to[0]      = heads->maximum;
                to[1]      = heads->sum;
                std::memcpy(to + 2, heads->result, v->ne[0] * sizeof(float));
            } else {
                const float inverse = heads->sum == 0 ? 0 : 1 / heads->sum;
                float *     to = static_cast<float *>(dst->data) + ((stream * q->ne[1] + token) * q->ne[2] + head) * v->ne[0];
                for (int64_t place = 0; place < v->ne[0]; ++place) {
                    to[place] = heads->result[place] * inverse;
                }
            }
        }
    }

    float * partial(int64_t head, int64_t number) const {
        return static_cast<float *>(params->wdata) + params->nth * scratch_floats() +
               (head * n_chunks + number) * partial_floats();
    }

    void join() const {
        for (int64_t head = params->ith; head < q->ne[2]; head += params->nth) {
            float   maximum = -INFINITY;
            float   sum     = 0;
            float * to      = static_cast<float *>(dst->data) + head * v->ne[0];
            std::memset(to, 0, v->ne[0] * sizeof(float));
            for (int64_t number = 0; number < n_chunks && number * chunk < k->ne[1]; ++number) {
                const float * from = partial(head, number);
                if (from[1] == 0) {
                    continue;
                }
                const float risen     = fmaxf(maximum, from[0]);
                const float scale_old = expf(maximum - risen);
                const float scale_new = expf(from[0] - risen);
                for (int64_t place = 0; place < v->ne[0]; ++place) {
                    to[place] = to[place] * scale_old + from[2 + place] * scale_new;
                }
                sum     = sum * scale_old + from[1] * scale_new;
                maximum = risen;
            }
            if (sum != 0) {
                const float inverse = 1 / sum;
                for (int64_t place = 0; place < v->ne[0]; ++place) {
                    to[place] *= inverse;
                }
            }
        }
    }
};

}  // namespace
