#include "io/transfer_sink.hh"

#include <cstring>

#include <boost/asio/post.hpp>
#include <fmt/format.h>

#include "base/check.hh"
#include "base/overloaded.hh"
#include "base/printable.hh"
#include "transfer/limits.hh"

namespace dh::io {
namespace {

constexpr std::size_t kRingBytes = 3u << 19;  // taken from the network ahead of the disk: a block and a half
constexpr auto kSpaceRetry = std::chrono::seconds(1);

ReceiveProblem problem_of(const transfer::Refusal& refusal) {
  using Kind = ReceiveProblem::Kind;
  const std::string words = transfer::sentence(refusal);
  switch (transfer::class_of(refusal.fault)) {
    case transfer::FaultClass::Protocol:
      return {Kind::Protocol, words};
    case transfer::FaultClass::Unsafe:
      return {Kind::Unsafe, words};
    case transfer::FaultClass::Integrity:
      return {Kind::Integrity, words};
  }
  return {Kind::Protocol, words};
}

bulk::AbortCode code_of(ReceiveProblem::Kind kind) {
  switch (kind) {
    case ReceiveProblem::Kind::Local:
      return bulk::AbortCode::WriteFailed;
    case ReceiveProblem::Kind::Declined:
    case ReceiveProblem::Kind::Unsafe:
      return bulk::AbortCode::Declined;
    case ReceiveProblem::Kind::Protocol:
      return bulk::AbortCode::ProtocolError;
    case ReceiveProblem::Kind::Integrity:
      return bulk::AbortCode::DigestMismatch;
  }
  return bulk::AbortCode::Internal;
}

}  // namespace

// What the driver holds: its destruction ends the thread.
class Receiving::End final : public StreamSink {
public:
  End(std::shared_ptr<Receiving> receiving, PumpNotify notify) : receiving_(std::move(receiving)) {
    receiving_->start(std::move(notify));
  }
  ~End() override { receiving_->stop(); }
  std::size_t write(ByteView data) override { return receiving_->ring_.write_now(data); }
  void finish() override { receiving_->ring_.end(); }
  bool finished() const override { return receiving_->finished_; }
  std::optional<StreamFault> fault() const override {
    const std::lock_guard lock(receiving_->mutex_);
    return receiving_->fault_;
  }

private:
  std::shared_ptr<Receiving> receiving_;
};

Receiving::Receiving(boost::asio::any_io_executor executor, std::function<void(Bytes)> send,
                     ReceivingHooks& hooks, const ReceivingOptions& options)
    : executor_(std::move(executor)),
      send_(std::move(send)),
      hooks_(hooks),
      options_(options),
      ring_(kRingBytes) {}

Receiving::~Receiving() {
  stop();
}

SinkMaker Receiving::sink() {
  return [self = shared_from_this()](PumpNotify notify) -> std::unique_ptr<StreamSink> {
    return std::make_unique<End>(self, std::move(notify));
  };
}

void Receiving::start(PumpNotify notify) {
  CHECK(!thread_.joinable());
  notify_ = std::move(notify);
  thread_ = std::thread([this] { run(); });
}

void Receiving::stop() {
  stopped_ = true;
  ring_.stop();
  {
    const std::lock_guard lock(mutex_);  // so that the waiter cannot miss it
  }
  stop_heard_.notify_all();
  if (thread_.joinable()) thread_.join();
}

transfer::Progress Receiving::progress() const {
  return {.bytes = bytes_, .files = files_, .entry = entry_};
}

std::string Receiving::paused() const {
  const std::lock_guard lock(mutex_);
  return paused_;
}

void Receiving::forget() {
  stop();
  if (writer_ && report_.in_place) writer_->forget();
}

void Receiving::close() {
  stop();
  writer_.reset();
}

void Receiving::say(Bytes message) {
  boost::asio::post(executor_, [self = shared_from_this(), message = std::move(message)]() mutable {
    if (!self->stopped_) self->send_(std::move(message));
  });
}

void Receiving::end_with(ReceiveProblem problem) {
  const std::lock_guard lock(mutex_);
  fault_ = StreamFault{code_of(problem.kind), problem.sentence.substr(0, transfer::kMaxReasonBytes)};
  report_.problem = std::move(problem);
}

void Receiving::run() {
  try {
    receive();
  } catch (const Stopped&) {
  } catch (const std::exception& error) {
    end_with({ReceiveProblem::Kind::Local, error.what()});
  }
  if (report_.problem) ring_.stop();
  notify_();
}

void Receiving::receive() {
  for (;;) {
    ByteView bytes = ring_.wait_filled();
    if (const std::size_t wanted = core_.likes(bytes); wanted > bytes.size())
      bytes = ring_.wait_filled(wanted);
    if (bytes.empty()) break;
    const auto step = core_.on_bytes(bytes);
    if (!step) return end_with(problem_of(step.error()));
    take(*step);
    if (report_.problem) return;
    ring_.consumed(step->consumed);
    notify_();
  }
  if (stopped_) return;
  if (auto good = core_.on_end(); !good) return end_with(problem_of(good.error()));
  finish();
}

void Receiving::take(const transfer::ReceiverCore::Step& step) {
  if (step.started) {
    entry_ = step.started->entry;
    if (writer_) writer_->start(*step.started);
  }
  if (!step.event) return;
  std::visit(Overloaded{
                 [&](const transfer::Offered&) { on_offer(); },
                 [&](const transfer::BlockArrived& block) {
                   if (writer_) writer_->write(block);
                   if (!writer_) text_ += as_text(block.data);
                   bytes_ += block.data.size();
                 },
                 [&](const transfer::HoleArrived& hole) {
                   writer_->hole(hole);
                   const std::uint64_t size = core_.manifest()[hole.entry].size;
                   const std::uint64_t from = std::uint64_t{hole.first} * transfer::kBlockBytes;
                   bytes_ += std::min(size - from, std::uint64_t{hole.count} * transfer::kBlockBytes);
                 },
                 [&](const transfer::FileArrived& file) { on_file(file); },
                 [&](const transfer::EntryFailed& failed) {
                   if (writer_) writer_->drop(failed.entry);
                   report_.failures.push_back(printable(core_.manifest().path(failed.entry), 1000) + ": " +
                                              printable(failed.text));
                   report_.has_changed |= failed.reason == transfer::FailReason::Changed;
                 },
                 [&](const transfer::AllArrived&) {},
             },
             *step.event);
}

void Receiving::on_offer() {
  const transfer::Manifest& manifest = core_.manifest();
  transfer::NamePolicy policy{.allow_hidden = options_.allow_hidden, .destination_folds = false};
  if (auto good = transfer::check_names(manifest, policy); !good) return end_with(problem_of(good.error()));
  offered_ = true;
  std::vector<std::uint32_t> taken;
  if (!manifest.is_text()) {
    const Destination destination = hooks_.destination(manifest);
    WriterWaits& waits = *this;
    writer_ = std::make_unique<TreeWriter>(destination.directory, waits);
    taken = writer_->begin(manifest, destination.only_name);
    policy.destination_folds = writer_->folds_case();
    if (policy.destination_folds) {
      if (auto good = transfer::check_names(manifest, policy); !good)
        return end_with(problem_of(good.error()));
    }
  }
  asking_ = true;
  auto plan = hooks_.decide(manifest, taken);
  asking_ = false;
  if (!plan) return end_with(std::move(plan.error()));
  plan->verify = core_.verify();
  transfer::Answer answer;
  answer.nonce = options_.nonce;
  if (writer_) {
    answer.spans = writer_->prepare(*plan);
    bytes_kept_ = writer_->bytes_kept();
  } else {
    answer.spans = {{.wish = transfer::Span::Wish::Whole, .first = 0, .count = 1}};
  }
  for (const transfer::Span& span : answer.spans) {
    if (span.wish != transfer::Span::Wish::Skip) continue;
    for (std::uint32_t i = span.first; i < span.first + span.count; ++i) {
      bytes_kept_ += manifest[i].size;
      files_ += manifest[i].has_content();
    }
  }
  bytes_ += bytes_kept_;
  if (core_.verify()) check_.emplace(binding_, core_.sender_nonce(), options_.nonce);
  for (Bytes& message : answer.serialize()) say(std::move(message));
  boost::asio::post(executor_, [self = shared_from_this()] {
    if (!self->stopped_) self->hooks_.accepted(self->bytes_kept_);
  });
  core_.answer(answer);
}

void Receiving::on_file(const transfer::FileArrived& file) {
  if (writer_) {
    if (!writer_->finish(file))
      return end_with(problem_of({transfer::Fault::DamagedFile, core_.manifest().path(file.entry)}));
  } else if (file.sha256) {
    RunningSha256 hash;
    hash.update(as_bytes(text_));
    if (hash.digest() != *file.sha256) return end_with(problem_of({transfer::Fault::DamagedFile, {}}));
  }
  ++files_;
  entry_ = file.entry;
  if (!file.sha256) return;
  check_->file(file.entry, *file.sha256);
  report_.digests.emplace_back(core_.manifest().path(file.entry), *file.sha256);
}

// Everything arrived: now it gets its names. Only then the sender is told.
void Receiving::finish() {
  transfer::ResultMessage result;
  placing_ = true;
  if (writer_) {
    report_.outcome = writer_->commit();
    result = {report_.outcome.failed, report_.outcome.first_failure};
  } else {
    hooks_.show_text(text_);
  }
  if (check_) report_.check_string = check_->text();
  report_.in_place = true;
  say(transfer::serialize(result));
  // Behind the message, so that it is with the driver when the driver hears that we are done.
  boost::asio::post(executor_, [self = shared_from_this()] {
    self->finished_ = true;
    if (!self->stopped_) self->notify_();
  });
}

void Receiving::wait_for_space(const std::string& why) {
  std::unique_lock lock(mutex_);
  if (paused_.empty()) {
    paused_ = why;
    say(transfer::serialize(transfer::PausedMessage{why}));
  }
  stop_heard_.wait_for(lock, kSpaceRetry, [&] { return stopped_.load(); });
  if (stopped_) throw Stopped();
}

void Receiving::space_is_back() {
  const std::lock_guard lock(mutex_);
  paused_.clear();
  say(transfer::serialize(transfer::PausedMessage{}));
}

}  // namespace dh::io
