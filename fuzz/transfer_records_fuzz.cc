// A hostile sender: cut anywhere, the stream means the same; what comes out of the core obeys its promises.
// And a hostile receiver: its messages, against a manifest of files.

#include <cstdlib>

#include "base/overloaded.hh"
#include "transfer/limits.hh"
#include "transfer/receiver_core.hh"
#include "transfer/sender_core.hh"

namespace {

using namespace dh;
using namespace dh::transfer;

struct Outcome {
  std::uint64_t content = 0, events = 0;
  bool refused = false, over = false;
  bool operator==(const Outcome&) const = default;
};

Answer answer_for(const Manifest& manifest, unsigned char how) {
  Answer answer;
  for (std::uint32_t i = 0; i < manifest.size(); ++i) {
    Span span;
    span.first = i;
    span.wish = static_cast<Span::Wish>(1 + (how + i) % 4);
    if (span.wish == Span::Wish::Resume) {
      const bool can = manifest[i].kind == EntryKind::File && block_count(manifest[i].size) > 1;
      if (can) span.blocks = 1;
      if (!can) span.wish = Span::Wish::Whole;
    }
    answer.spans.push_back(span);
  }
  return answer;
}

Outcome run(ByteView input, std::size_t piece, unsigned char how) {
  ReceiverCore core;
  Outcome out;
  std::uint32_t block = 0;
  while (!input.empty()) {
    const ByteView now = input.first(std::min(piece, input.size()));
    const auto step = core.on_bytes(now);
    if (!step) {
      out.refused = true;
      return out;
    }
    input = input.subspan(step->consumed);
    if (step->started) block = step->started->first;
    if (!step->event) {
      if (step->consumed == 0) std::abort();
      continue;
    }
    ++out.events;
    std::visit(
        Overloaded{
            [&](const Offered&) { core.answer(answer_for(core.manifest(), how)); },
            [&](const BlockArrived& arrived) {
              if (arrived.block != block++) std::abort();
              if (arrived.data.size() != block_size(core.manifest()[arrived.entry].size, arrived.block))
                std::abort();
              out.content += arrived.data.size();
            },
            [&](const HoleArrived& hole) { block += hole.count; },
            [&](const FileArrived&) {},
            [&](const EntryFailed&) {},
            [&](const AllArrived&) {},
        },
        *step->event);
  }
  out.over = core.over();
  return out;
}

void hear(ByteView input) {
  Manifest manifest;
  if (!manifest.add({.kind = EntryKind::Directory, .name = "d", .mode = 0755})) std::abort();
  for (const char* name : {"a", "b", "c"})
    if (!manifest.add({.parent = 0, .name = name, .size = 5 * kBlockBytes + 7})) std::abort();
  SenderCore core(manifest, {});
  for (Bytes sink; core.poll_offer(sink);) {
  }
  while (!input.empty()) {
    const std::size_t size = std::min<std::size_t>(input.size(), 1 + static_cast<std::size_t>(input[0]));
    if (!core.on_message(input.first(size))) return;
    input = input.subspan(size);
  }
  if (!core.answered()) return;
  std::uint32_t next = 0;
  while (const auto task = core.next_task()) {
    if (task->first != next) std::abort();
    next += task->count;
  }
  if (next != manifest.size()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  if (size == 0) return 0;
  const ByteView input(reinterpret_cast<const std::byte*>(data + 1), size - 1);
  const Outcome whole = run(input, SIZE_MAX, data[0]);
  if (!(run(input, 1, data[0]) == whole) || !(run(input, 7, data[0]) == whole)) std::abort();
  hear(input);
  return 0;
}
