// Flash attention of many tokens, cut into units of sixteen tokens and some heads: see attention_tile.h.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "attention_call.h"
#include "attention_tile.h"
#include "common.h"
#include "ggml-cpu-impl.h"
#include "ggml.h"
#include "sharing.h"

namespace {

constexpr int64_t state_lanes    = 2048;  // of the heads that go together: 128 KB, which stay in the second-level cache
constexpr int64_t units_a_thread = 8;

// Lanes and registers change places.
inline void transpose(__m512 rows[n_lanes]) {
    const __m512i lower = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const __m512i upper = _mm512_add_epi32(lower, _mm512_set1_epi32(n_lanes / 2));
#pragma GCC unroll 4
    for (int round = 0; round < 4; ++round) {
        __m512 shuffled[n_lanes];
#pragma GCC unroll 8
        for (int at = 0; at < n_lanes / 2; ++at) {
            shuffled[2 * at]     = _mm512_permutex2var_ps(rows[at], lower, rows[at + n_lanes / 2]);
            shuffled[2 * at + 1] = _mm512_permutex2var_ps(rows[at], upper, rows[at + n_lanes / 2]);
        }
        std::copy_n(shuffled, n_lanes, rows);
    }
}

// One call: its tensors, and how the work is cut. Every thread cuts alike.
class AttentionByTiles : private AttentionCall {
  public:
    AttentionByTiles(const ggml_compute_params * params, ggml_tensor * dst)
        : AttentionCall(params, dst) {
        std::memcpy(&scale, dst->op_params, sizeof scale);
        const auto ceil  = [](int64_t a, int64_t b) { return (a + b - 1) / b; };
        const auto least = ceil(q->ne[2], std::max<int64_t>(1, state_lanes / head_lanes()));
        n_groups         = ceil(q->ne[1], n_lanes);
        n_sets           = std::max(least, ceil(units_a_thread * params->nth, n_groups * q->ne[3]));
        n_sets           = std::min(n_sets, q->ne[2]);
    }

    // For what llama.cpp, too, takes in tiles.
    bool is_ours() const {
        static_assert(ggml_fa_tile_config::KV == tile_cells, "llama.cpp takes the maximum anew after other numbers of cells");
        return is_plain() && k->ne[0] % n_lanes == 0 && v->ne[0] % value_step == 0 &&
               q->ne[1] >= static_cast<int64_t>(ggml_fa_tile_config::Q);
    }

    void compute() const {
        share_out(params, n_groups * n_sets * q->ne[3], [&](int64_t unit) {
            // the last tokens first, which often see most
            compute_unit(n_groups - 1 - unit / n_sets % n_groups, unit % n_sets, unit / n_sets / n_groups);
        });
    }

  private:
    float                       scale;
    int64_t                     n_groups;  // of sixteen tokens
    int64_t                     n_sets;    // of query heads

    int64_t head_lanes() const { return k->ne[0] + v->ne[0] + 2; }

    template <class T> static const T * at(const ggml_tensor * tensor, int64_t i1, int64_t i2, int64_t i3) {
        return reinterpret_cast<const T *>(static_cast<const char *>(tensor->data) + i1 * tensor->nb[1] + i2 * tensor->nb[2] +
                                           i3 * tensor->nb[3]);
    }

    void compute_unit(int64_t group, int64_t set, int64_t stream) const {
        static thread_local std::vector<Lanes> room;
        const int64_t first    = q->ne[2] * set / n_sets;
        const int64_t end      = q->ne[2] * (set + 1) / n_sets;
        const int64_t token    = group * n_lanes;
        const int     n_tokens = static_cast<int>(std::min<int64_t>(n_lanes, q->ne[1] - token));
        room.resize(tile_cells / n_lanes * k->ne[0] + (end - first) * head_lanes());
        Lanes * const      states = room.data() + tile_cells / n_lanes * k->ne[0];
        const char * const masks  = mask ? at<char>(mask, token, 0, stream % mask->ne[3]) : nullptr;
        for (int64_t head = first; head < end; ++head) {
            prepare(head_at(states, head - first), token, n_tokens, head, stream);
        }
        Sight sight;
        for (int64_t cell = 0; cell < k->ne[1]; cell += tile_cells) {
            const char * rows = masks ? masks + cell * sizeof(ggml_fp16_t) : nullptr;
            sight.look(rows, masks ? mask->nb[1] : 0, n_tokens, static_cast<int>(std::min<int64_t>(tile_cells, k->ne[1] - cell)));
            if (sight.end) {
                attend(sight, cell, room.data()->values, states, n_tokens, first, end, stream);
            }
        }
        for (int64_t head = first; head < end; ++head) {
            finish(head_at(states, head - first), token, n_tokens, head, stream);
        }
    }

    TileHead head_at(Lanes * states, int64_t number) const {
        Lanes * const state = states + number * head_lanes();
        return {state + 2, (state + 2 + k->ne[0])->values, state, state + 1};
    }

    void prepare(const TileHead & to, int64_t token, int n_tokens, int64_t head, int64_t stream) const {
        store(*to.maximum, _mm512_set1_ps(-INFINITY));
        store(*to.sum, _mm512_setzero_ps());
        std::memset(to.result, 0, v->ne[0] * sizeof(Lanes));
        for (int64_t place = 0; place < k->ne[0]; place += n_lanes) {
            __m512 rows[n_lanes];
            for (int which = 0; which < n_lanes; ++which) {
                rows[which] = which < n_tokens ? _mm512_loadu_ps(at<float>(q, token + which, head, stream) + place) :
                                                 _mm512_setzero_ps();
            }
            transpose(rows);
            for (int which = 0; which < n_lanes; ++which) {
                store(to.query[place + which], rows[which]);
            }
        }
    }

    void attend(const Sight & sight, int64_t cell, float * key_room, Lanes * states, int n_tokens, int64_t first, int64_t end,
                int64_t stream) const {
        const int64_t sharing = q->ne[2] / k->ne[2];
        const int64_t kv      = stream / (q->ne[3] / k->ne[3]);
        for (int64_t head = first; head < end;) {
            const int64_t kv_head = head / sharing;
            const Column  keys{at<char>(k, 0, kv_head, kv), static_cast<int64_t>(k->nb[1]), k->ne[0]};
            const Column  values{at<char>(v, 0, kv_head, kv), static_cast<int64_t>(v->nb[1]), v->ne[0]};
            Tile          tile(sight, keys, values, cell, scale, key_room);
            for (; head < std::min(end, (kv_head + 1) * sharing); ++head) {
                tile.attend(head_at(states, head - first), n_tokens);
            }
        }
    }

    void finish(const TileHead & from, int64_t token, int n_tokens, int64_t head, int64_t stream) const {
        for (int which = 0; which < n_tokens; ++which) {
            const float   sum     = from.sum->values[which];
            const float   inverse = sum == 0 ? 0 : 1 / sum;
            const float * result  = from.result + which * v->ne[0];
            float * to = static_cast<float *>(dst->data) + ((stream * q->ne[1] + token + which) * q->ne[2] + head) * v->ne[0];
            for (int64_t place = 0; place < v->ne[0]; ++place) {
                to[place] = result[place] * inverse;
            }
        }
    }
};

}  // namespace
