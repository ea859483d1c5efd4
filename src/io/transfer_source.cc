#include "io/transfer_source.hh"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <unistd.h>

#include "base/check.hh"
#include "base/overloaded.hh"
#include "transfer/limits.hh"

namespace dh::io {
namespace {

using transfer::block_count;
using transfer::block_size;
using transfer::kBlockBytes;
using transfer::Span;

constexpr std::size_t kRingBytes = 2u << 20;  // read ahead of the network: a block and its successor

constexpr std::size_t kBatchBytes = 64u << 10;

// Bytes read, fewer only at the end of the file. Errors: errno.
std::expected<std::size_t, int> read_at(int fd, std::uint64_t at, ByteSpan into) {
  std::size_t done = 0;
  while (done < into.size()) {
    const ssize_t size = ::pread(fd, into.data() + done, into.size() - done, static_cast<off_t>(at + done));
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return std::unexpected(errno);
    if (size == 0) break;
    done += static_cast<std::size_t>(size);
  }
  return done;
}

SourceTree tree_of_text(const std::string& text) {
  SourceTree out;
  const auto added =
      out.manifest.add({.kind = transfer::EntryKind::Text, .name = "text", .mode = 0, .size = text.size()});
  CHECK(added.has_value());  // the command has checked the size
  return out;
}

}  // namespace

// What the driver holds: its destruction ends the thread.
class Sending::End final : public StreamSource {
public:
  End(std::shared_ptr<Sending> sending, PumpNotify notify) : sending_(std::move(sending)) {
    sending_->start(std::move(notify));
  }
  ~End() override { sending_->stop(); }
  std::size_t read(ByteSpan room) override { return sending_->ring_.read_now(room); }
  bool finished() const override { return sending_->ring_.drained(); }
  std::optional<StreamFault> fault() const override {
    const std::lock_guard lock(sending_->mutex_);
    return sending_->fault_;
  }
  std::uint64_t expected_bytes() const override { return 0; }  // the command counts content

private:
  std::shared_ptr<Sending> sending_;
};

Sending::Sending(SourceTree tree, const SendingOptions& options, Rescan rescan)
    : tree_(std::move(tree)),
      options_(options),
      rescan_(std::move(rescan)),
      reader_(tree_),
      ring_(kRingBytes) {}

Sending::Sending(std::string text, const SendingOptions& options)
    : tree_(tree_of_text(text)),
      text_(std::move(text)),
      options_(options),
      reader_(tree_),
      ring_(kRingBytes) {}

Sending::~Sending() {
  stop();
}

SourceMaker Sending::source() {
  return [self = shared_from_this()](PumpNotify notify) -> std::unique_ptr<StreamSource> {
    return std::make_unique<End>(self, std::move(notify));
  };
}

void Sending::start(PumpNotify notify) {
  CHECK(!thread_.joinable());
  notify_ = std::move(notify);
  thread_ = std::thread([this] { run(); });
}

void Sending::stop() {
  stopped_ = true;
  ring_.stop();
  {
    const std::lock_guard lock(mutex_);  // so that the waiter cannot miss it
  }
  heard_.notify_all();
  if (thread_.joinable()) thread_.join();
}

std::optional<std::string> Sending::on_message(ByteView message) {
  const std::lock_guard lock(mutex_);
  std::expected<transfer::MessageReader::Heard, transfer::Refusal> heard =
      std::unexpected(transfer::Refusal{transfer::Fault::BadAnswer});  // before anything was offered
  if (core_) heard = core_->on_message(message);
  if (!heard) {
    fault_ = StreamFault{bulk::AbortCode::ProtocolError, transfer::sentence(heard.error())};
    ring_.end();
    heard_.notify_all();
    return std::nullopt;
  }
  if (const auto* paused = std::get_if<transfer::PausedMessage>(&*heard)) return paused->why;
  if (const auto* result = std::get_if<transfer::ResultMessage>(&*heard)) result_ = *result;
  if (core_->answered()) {
    answered_ = true;
    heard_.notify_all();
  }
  return std::nullopt;
}

transfer::Progress Sending::progress(std::uint64_t confirmed) {
  const std::lock_guard lock(mutex_);
  return marks_.confirmed(confirmed);
}

std::string Sending::check_string() const {
  return check_ ? check_->text() : std::string();
}

void Sending::run() {
  try {
    stream();
    ring_.end();
  } catch (const GaveUp&) {
    ring_.end();
  }
  notify_();
}

void Sending::flush() {
  push(out_);
  out_.clear();
}

// Every push wakes the network loop: small files go together.
void Sending::appended() {
  if (out_.size() >= kBatchBytes) flush();
}

void Sending::push(ByteView bytes) {
  stream_bytes_ += bytes.size();
  while (!bytes.empty()) {
    const ByteSpan room = ring_.wait_free(std::min(bytes.size(), kBatchBytes));
    if (room.empty()) throw GaveUp();
    const std::size_t size = std::min(room.size(), bytes.size());
    std::memcpy(room.data(), bytes.data(), size);
    ring_.produced(size);
    notify_();
    bytes = bytes.subspan(size);
  }
}

void Sending::stream() {
  if (rescan_) {
    if (auto again = rescan_(stopped_)) tree_ = std::move(*again);
    if (stopped_) throw GaveUp();
  }
  {
    const std::lock_guard lock(mutex_);
    core_.emplace(tree_.manifest,
                  transfer::SenderCore::Options{.verify = options_.verify, .nonce = options_.nonce});
  }
  ready_ = true;
  for (bool more = true; more;) {
    {
      const std::lock_guard lock(mutex_);
      more = core_->poll_offer(out_);
    }
    flush();
  }
  {
    std::unique_lock lock(mutex_);
    heard_.wait(lock, [&] { return stopped_ || fault_ || core_->answered(); });
    if (stopped_ || fault_) throw GaveUp();
    if (options_.verify) check_.emplace(options_.binding, options_.nonce, core_->answer().nonce);
  }
  for (;;) {
    std::optional<Span> next;
    {
      const std::lock_guard lock(mutex_);
      next = core_->next_task();
    }
    if (!next) break;
    task(*next);
  }
  {
    const std::lock_guard lock(mutex_);
    Writer w(out_);
    core_->finish(w);
  }
  flush();
  const std::lock_guard lock(mutex_);
  marks_.mark(stream_bytes_, at_);
}

void Sending::advance(std::uint32_t entry, std::uint64_t bytes, bool whole) {
  at_.entry = entry;
  at_.bytes += bytes;
  at_.files += whole;
  const std::lock_guard lock(mutex_);
  marks_.mark(stream_bytes_ + out_.size(), at_);
}

void Sending::task(const Span& span) {
  const transfer::Manifest& manifest = tree_.manifest;
  if (span.wish == Span::Wish::Have && run_is_there(span)) return;
  for (std::uint32_t entry = span.first; entry < span.first + span.count; ++entry) {
    if (!manifest[entry].has_content()) continue;
    if (span.wish == Span::Wish::Skip) {
      bytes_skipped_ += manifest[entry].size;
      advance(entry, manifest[entry].size, true);
    } else if (manifest[entry].kind == transfer::EntryKind::Text) {
      send_text();
    } else {
      send_file(entry, span.wish == Span::Wish::Resume ? &span : nullptr);
    }
  }
}

template <class Hash>
bool Sending::hash_prefix(int fd, std::uint64_t size, Hash&& hash) {
  if (size >= kBlockBytes) flush();  // the receiver has something to do meanwhile
  block_.resize(kBlockBytes);
  for (std::uint64_t at = 0; at < size;) {
    if (stopped_) throw GaveUp();
    const auto room =
        ByteSpan(block_).first(static_cast<std::size_t>(std::min<std::uint64_t>(kBlockBytes, size - at)));
    const auto got = read_at(fd, at, room);
    if (!got || *got != room.size()) return false;
    hash(ByteView(room));
    at += room.size();
    bytes_compared_ += room.size();
  }
  return true;
}

// The receiver says that it has these files. When that is so, their ends are all that is sent.
bool Sending::run_is_there(const Span& span) {
  RunningBlake2b run;
  std::vector<std::optional<ByteArray<32>>> sha256s;
  for (std::uint32_t entry = span.first; entry < span.first + span.count; ++entry) {
    if (!tree_.manifest[entry].has_content()) continue;
    const auto file = reader_.open(entry);
    if (!file) return false;
    RunningBlake2b content;
    std::optional<RunningSha256> sha256;
    if (options_.verify) sha256.emplace();
    const bool read = hash_prefix(file->get(), tree_.manifest[entry].size, [&](ByteView bytes) {
      content.update(bytes);
      if (sha256) sha256->update(bytes);
    });
    if (!read || reader_.changed(entry, file->get())) return false;
    Bytes size;
    Writer(size).u64(tree_.manifest[entry].size);
    run.update(size);
    run.update(content.digest());
    sha256s.push_back(sha256 ? std::optional(sha256->digest()) : std::nullopt);
  }
  if (run.digest() != span.digest) return false;
  std::size_t next = 0;
  for (std::uint32_t entry = span.first; entry < span.first + span.count; ++entry) {
    if (!tree_.manifest[entry].has_content()) continue;
    bytes_skipped_ += tree_.manifest[entry].size;
    end_file(entry, sha256s[next++]);
    advance(entry, tree_.manifest[entry].size, true);
  }
  return true;
}

void Sending::fail(std::uint32_t entry, ReadFailure failure) {
  {
    const std::lock_guard lock(mutex_);
    Writer w(out_);
    core_->fail(entry, failure.reason, failure.why, w);
  }
  appended();
  failures_.push_back({tree_.manifest.path(entry), std::move(failure.why), failure.reason});
}

void Sending::end_file(std::uint32_t entry, const std::optional<ByteArray<32>>& sha256) {
  Writer w(out_);
  transfer::FileEndRecord{entry, tree_.manifest[entry].size, sha256}.serialize(w);
  appended();
  if (!sha256) return;
  check_->file(entry, *sha256);
  digests_.push_back({tree_.manifest.path(entry), *sha256});
}

void Sending::send_file(std::uint32_t entry, const Span* resume) {
  const std::uint64_t counted = at_.bytes;
  sha256_.reset();
  if (options_.verify) sha256_.emplace();
  try {
    auto file = reader_.open(entry);
    if (!file) throw file.error();
    std::uint32_t first = 0;
    if (resume != nullptr) {
      RunningBlake2b prefix;
      std::optional<RunningSha256> sha256 = sha256_;
      const std::uint64_t size = std::uint64_t{resume->blocks} * kBlockBytes;
      const bool read = hash_prefix(file->get(), size, [&](ByteView bytes) {
        prefix.update(bytes);
        if (sha256) sha256->update(bytes);
      });
      if (read && prefix.digest() == resume->digest) {
        first = resume->blocks;
        sha256_ = sha256;
        bytes_skipped_ += size;
        advance(entry, size, false);
      }
    }
    send_blocks(entry, file->get(), first);
    if (auto failure = reader_.changed(entry, file->get())) throw std::move(*failure);
    end_file(entry, sha256_ ? std::optional(sha256_->digest()) : std::nullopt);
    advance(entry, 0, true);
  } catch (ReadFailure& failure) {
    at_.bytes = counted + tree_.manifest[entry].size;  // done with, one way or the other
    fail(entry, std::move(failure));
  }
}

void Sending::send_blocks(std::uint32_t entry, int fd, std::uint32_t first) {
  const transfer::Entry& about = tree_.manifest[entry];
  const std::uint32_t all = block_count(about.size);
  std::uint64_t data_at = 0;  // sparse: nothing but holes before this
  block_.resize(kBlockBytes);
  if (about.size > kBlockBytes) (void)::posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
  for (std::uint32_t block = first; block < all; ++block) {
    const std::uint64_t at = std::uint64_t{block} * kBlockBytes;
    if (about.sparse && data_at <= at) {
      const off_t found = ::lseek(fd, static_cast<off_t>(at), SEEK_DATA);
      data_at = found >= 0 ? static_cast<std::uint64_t>(found) : errno == ENXIO ? about.size : at;
    }
    const std::uint64_t hole_end = std::min(data_at, about.size);
    std::uint32_t holes = hole_end > at ? static_cast<std::uint32_t>((hole_end - at) / kBlockBytes) : 0;
    if (hole_end == about.size && hole_end > at) holes = all - block;
    if (holes > 0) {
      Writer w(out_);
      transfer::HoleRecord{entry, block, holes}.serialize(w);
      appended();
      if (sha256_) {
        std::fill(block_.begin(), block_.end(), std::byte{0});
        for (std::uint32_t i = 0; i < holes; ++i)
          sha256_->update(ByteView(block_).first(block_size(about.size, block + i)));
      }
      block += holes - 1;
      advance(entry, std::min(about.size, std::uint64_t{block + 1} * kBlockBytes) - at, false);
      continue;
    }
    const std::size_t size = block_size(about.size, block);
    send_block(fd, entry, block, size);
    advance(entry, size, false);
  }
}

// A large one is read to where the network takes it from.
void Sending::send_block(int fd, std::uint32_t entry, std::uint32_t block, std::size_t size) {
  constexpr std::size_t kHeader = transfer::BlockRecord::kRecordHeaderBytes;
  ByteSpan room;
  if (size >= kBatchBytes) {
    flush();
    room = ring_.wait_free(kHeader + size);
    if (room.empty()) throw GaveUp();
  }
  const bool fits = room.size() >= kHeader + size;
  const ByteSpan data = fits ? room.subspan(kHeader, size) : ByteSpan(block_).first(size);
  const auto got = read_at(fd, std::uint64_t{block} * kBlockBytes, data);
  if (!got) throw ReadFailure{transfer::FailReason::Unreadable, std::strerror(got.error())};
  if (*got != size) throw ReadFailure{transfer::FailReason::Changed, "it became shorter while it was sent"};
  if (sha256_) sha256_->update(data);
  Writer w(out_);
  transfer::BlockRecord{.entry = entry, .block = block, .digest = transfer::block_digest(data), .data = {}}
      .serialize_header(w, size);
  if (!fits) {
    w.bytes(data);
    return appended();
  }
  std::memcpy(room.data(), out_.data(), kHeader);
  out_.clear();
  ring_.produced(kHeader + size);
  stream_bytes_ += kHeader + size;
  notify_();
}

void Sending::send_text() {
  const ByteView text = as_bytes(text_);
  for (std::uint32_t block = 0; block < block_count(text.size()); ++block) {
    const ByteView data = text.subspan(std::size_t{block} * kBlockBytes, block_size(text.size(), block));
    Writer w(out_);
    transfer::BlockRecord{.entry = 0, .block = block, .digest = transfer::block_digest(data), .data = {}}
        .serialize_header(w, data.size());
    flush();
    push(data);
    advance(0, data.size(), false);
  }
  std::optional<ByteArray<32>> sha;
  if (options_.verify) {
    RunningSha256 hash;
    hash.update(text);
    sha = hash.digest();
  }
  end_file(0, sha);
  advance(0, 0, true);
}

}  // namespace dh::io
