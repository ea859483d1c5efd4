#pragma once

// Both ends of a transfer in one process with real files, without a network between them.

#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <mutex>
#include <string>

#include <boost/asio/io_context.hpp>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/transfer_sink.hh"
#include "io/transfer_source.hh"
#include "scratch_directory.hh"

namespace dh::io {

inline void write_file(const std::string& path, std::string_view content) {
  std::ofstream(path, std::ios::binary) << content;
}
inline std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  std::string out(in ? static_cast<std::size_t>(in.tellg()) : 0, '\0');
  in.seekg(0);
  in.read(out.data(), static_cast<std::streamsize>(out.size()));
  return out;
}
inline std::string pattern(std::size_t size, unsigned seed = 1) {
  std::string out(size, '\0');
  for (char& c : out) c = static_cast<char>((seed = seed * 1664525 + 1013904223) >> 24);
  return out;
}

/// Everything below a directory: kind, mode, mtime, content. Staging directories only when asked for.
inline std::map<std::string, std::string> snapshot(const std::string& root, bool with_times = true,
                                                   bool with_staging = true) {
  std::map<std::string, std::string> out;
  if (!std::filesystem::is_directory(root)) {
    struct stat info {};
    EXPECT_EQ(::stat(root.c_str(), &info), 0);
    out["."] =
        std::to_string(info.st_mode) + " " + std::to_string(to_ns(info.st_mtim)) + " " + read_file(root);
    return out;
  }
  for (auto it = std::filesystem::recursive_directory_iterator(root); it != std::filesystem::end(it); ++it) {
    const std::string name = it->path().filename().string();
    if (!with_staging && name.starts_with(".derphole-part-")) {
      it.disable_recursion_pending();
      continue;
    }
    struct stat info {};
    EXPECT_EQ(::lstat(it->path().c_str(), &info), 0);
    std::string what = std::to_string(info.st_mode);
    if (with_times && !S_ISDIR(info.st_mode)) what += " " + std::to_string(to_ns(info.st_mtim));
    if (S_ISLNK(info.st_mode)) what += " -> " + std::filesystem::read_symlink(it->path()).string();
    if (S_ISREG(info.st_mode)) what += " " + read_file(it->path());
    out[std::filesystem::relative(it->path(), root).string()] = what;
  }
  return out;
}

/// A receiver that always does the same.
struct FixedHooks : ReceivingHooks {
  Destination where;
  std::optional<Conflict> conflict;
  bool says_no = false;
  std::uint64_t kept_bytes = 0;
  std::string text;

  Destination destination(const transfer::Manifest&) override { return where; }
  std::expected<WritePlan, ReceiveProblem> decide(const transfer::Manifest&,
                                                  const std::vector<std::uint32_t>& taken) override {
    if (says_no) return std::unexpected(ReceiveProblem{ReceiveProblem::Kind::Declined, "no"});
    WritePlan plan;
    if (conflict)
      for (const std::uint32_t entry : taken) plan.conflicts[entry] = *conflict;
    return plan;
  }
  void accepted(std::uint64_t bytes) override { kept_bytes = bytes; }
  void show_text(const std::string& shown) override { text = shown; }
};

/// Moves bytes and messages between two ends until it is over, or until so many bytes were moved.
class TransferWorld {
public:
  std::uint64_t cut_after = UINT64_MAX;
  std::function<void(std::uint64_t)> while_moving;  // called with the bytes moved
  std::uint64_t moved = 0;
  std::vector<std::string> pauses;  // what the sender heard of them
  bool is_complete = false;
  std::optional<StreamFault> fault;

  void run(const std::shared_ptr<Sending>& sending, const std::shared_ptr<Receiving>& receiving) {
    auto source = sending->source()(bell());
    auto sink = receiving->sink()(bell());
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    bool finished = false;
    Bytes buffer(1u << 20);
    ByteView left;
    for (;;) {
      const int seen = rings();
      context_.restart();
      context_.poll();
      for (const Bytes& message : std::exchange(messages_, {}))
        if (const auto pause = sending->on_message(message)) pauses.push_back(*pause);
      fault = sink->fault() ? sink->fault() : source->fault();
      if (fault || moved >= cut_after) return;
      if (left.empty()) {
        const auto most = static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), cut_after - moved));
        left = ByteView(buffer).first(source->read(ByteSpan(buffer).first(most)));
      }
      const std::size_t taken = sink->write(left);
      left = left.subspan(taken);
      moved += taken;
      if (while_moving) while_moving(moved);
      if (!finished && left.empty() && source->finished()) {
        finished = true;
        sink->finish();
      }
      if (finished && sink->finished()) {
        is_complete = true;
        return;
      }
      if (taken == 0 && !wait(seen, deadline)) {
        ADD_FAILURE() << "nothing moves after " << moved << " bytes";
        return;
      }
    }
  }

  std::shared_ptr<Receiving> receiving(FixedHooks& hooks, bool allow_hidden = false) {
    return std::make_shared<Receiving>(
        context_.get_executor(), [this](Bytes message) { messages_.push_back(std::move(message)); }, hooks,
        ReceivingOptions{.allow_hidden = allow_hidden});
  }

  /// What a hostile sender says, without listening.
  void feed(ByteView stream, const std::shared_ptr<Receiving>& receiving) {
    auto sink = receiving->sink()(bell());
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    bool finished = false;
    for (;;) {
      const int seen = rings();
      context_.restart();
      context_.poll();
      fault = sink->fault();
      if (fault) return;
      const std::size_t taken = sink->write(stream);
      stream = stream.subspan(taken);
      if (stream.empty() && !finished) {
        finished = true;
        sink->finish();
        continue;
      }
      if (sink->finished()) {
        is_complete = true;
        return;
      }
      if (taken == 0 && !wait(seen, deadline)) {
        ADD_FAILURE() << "nothing moves";
        return;
      }
    }
  }

private:
  PumpNotify bell() {
    return [this] {
      const std::lock_guard lock(mutex_);
      ++rings_;
      changed_.notify_all();
    };
  }
  int rings() {
    const std::lock_guard lock(mutex_);
    return rings_;
  }
  bool wait(int seen, std::chrono::steady_clock::time_point deadline) {
    std::unique_lock lock(mutex_);
    // Messages are posted without a ring.
    changed_.wait_for(lock, std::chrono::milliseconds(5), [&] { return rings_ != seen; });
    return std::chrono::steady_clock::now() < deadline;
  }

  boost::asio::io_context context_;
  std::vector<Bytes> messages_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int rings_ = 0;
};

/// Sends `paths` into `hooks.where` and says how it went.
inline ReceiveReport transfer_paths(const std::vector<std::string>& paths, FixedHooks& hooks,
                                    TransferWorld& world, const ScanOptions& scan = {}, bool verify = false) {
  auto tree = scan_tree(paths, scan);
  EXPECT_TRUE(tree) << tree.error();
  auto sending = std::make_shared<Sending>(std::move(*tree), SendingOptions{.verify = verify});
  auto receiving = world.receiving(hooks);
  world.run(sending, receiving);
  if (world.is_complete) receiving->forget();
  return receiving->report();
}
inline ReceiveReport transfer_paths(const std::vector<std::string>& paths, FixedHooks& hooks) {
  TransferWorld world;
  return transfer_paths(paths, hooks, world);
}

/// A directory to send from and one to receive into.
struct TransferTest : testing::Test {
  TransferTest() {
    std::filesystem::create_directories(scratch / "from");
    std::filesystem::create_directories(scratch / "to");
    hooks.where.directory = scratch / "to";
  }
  std::string from(const std::string& name) { return scratch / ("from/" + name); }
  std::string to(const std::string& name) { return scratch / ("to/" + name); }
  void expect_equal_trees(const std::string& name) { EXPECT_EQ(snapshot(from(name)), snapshot(to(name))); }
  bool has_leftovers() {
    return std::any_of(std::filesystem::directory_iterator(scratch / "to"), {},
                       [](const std::filesystem::directory_entry& entry) {
                         return entry.path().filename().string().starts_with(".derphole-");
                       });
  }

  ScratchDirectory scratch;
  FixedHooks hooks;
};

}  // namespace dh::io
