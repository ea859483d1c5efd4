#pragma once

// Several streams through one bottleneck, in virtual time: real senders and receivers, a queue, the path's
// own losses, an ack path with troubles of its own, and hosts that are not always running. Seeded.

#include <algorithm>
#include <deque>
#include <memory>
#include <optional>
#include <queue>
#include <tuple>
#include <utility>
#include <vector>

#include "bulk/receiver.hh"
#include "bulk/sender.hh"

namespace dh::bulk::test {

inline double mbit(double value) {
  return value * 125'000;
}

struct RateStep {
  Duration at{};
  double bytes_per_second = 0;
};
struct Outage {
  Duration from{}, until{};
  bool data = true, acks = true;
};

struct BottleneckProperties {
  double bytes_per_second = mbit(100);
  std::vector<RateStep> steps;        // later rates
  Duration rtt = 20ms;                // without queue; half of it each way
  std::optional<Duration> rtt_later;  // from `rtt_changes_at` on
  Duration rtt_changes_at{};
  double buffer_bdp = 1;       // drop-tail queue, in products of the first rate and rtt; at least two packets
  double policer_seconds = 0;  // > 0: a token bucket this deep instead of the queue, behind a fast link

  double loss = 0;           // of packets, after the queue
  double burst_packets = 0;  // > 1: losses come in bursts of this mean length (Gilbert)
  Duration jitter{};         // added to each packet, uniform, order kept
  double reorder = 0;        // this share of packets is held up by 5 ms
  double duplicate = 0;
  std::vector<Outage> outages;

  double ack_bytes_per_second = 0;  // > 0: a slow return path with a queue of 50 acks
  double ack_loss = 0;
  Duration ack_jitter{};      // order kept
  Duration ack_gather{};      // acks arrive only at multiples of this
  Duration ack_congestion{};  // others fill and empty a queue this long on the return path, every 500 ms

  std::uint64_t ack_keep = 1;  // only each so-many-th ack gets through: boxes that thin them out

  Duration off_cpu{};              // the sender's host sleeps for this much of every 10 ms
  Duration receiver_off_cpu{};     // so does the receiver's; meanwhile datagrams wait in its socket ...
  std::size_t socket_packets = 0;  // ... which holds so many; 0: any number
};

struct FlowProperties {
  Controller controller = Controller::Bbr;
  BbrConfig bbr{};
  Duration start{};
  Duration extra_rtt{};
  std::uint64_t bytes = 0;  // 0: no end
  std::size_t datagram_bytes = 1400;
  double reader_bytes_per_second = 0;  // 0: at once
  bool usual_buffers = false;          // as a session has them, instead of what never limits
  Duration reader_stalls{};            // the reader stops for this long in the middle of every second
  std::uint64_t key_update_packets = 0;
  std::uint64_t rate_limit = 0;
};

class Bottleneck {
public:
  Bottleneck(const BottleneckProperties& link, const std::vector<FlowProperties>& flows, std::uint64_t seed)
      : link_(link), rng_(seed), zeros_(1 << 20) {
    const double bdp = link.bytes_per_second * to_seconds(link.rtt);
    buffer_bytes_ = std::max(link.buffer_bdp * bdp, 2.0 * 1500);
    tokens_ = link.policer_seconds * link.bytes_per_second;
    double fastest = link.bytes_per_second;
    for (const RateStep& step : link.steps) fastest = std::max(fastest, step.bytes_per_second);
    const Duration longest = std::max(link.rtt, link.rtt_later.value_or(link.rtt));
    for (const FlowProperties& flow : flows)
      flows_.push_back(std::make_unique<Flow>(
          flow, link, flows_.size(), seed,
          (2 + std::min(link.buffer_bdp, 4.0)) * fastest * 2 * to_seconds(longest + flow.extra_rtt)));
  }

  void run_until(Duration end) {
    const Instant stop = kStart + end;
    while (true) {
      Instant next = stop;
      Flow* timer = nullptr;
      bool at_sender = false;
      for (auto& flow : flows_) {
        if (flow->sender_due && *flow->sender_due < next)
          next = *flow->sender_due, timer = flow.get(), at_sender = true;
        if (flow->receiver_due && *flow->receiver_due < next)
          next = *flow->receiver_due, timer = flow.get(), at_sender = false;
      }
      if (!events_.empty() && events_.top().at <= next) {
        const Event event = events_.top();
        events_.pop();
        now_ = std::max(now_, event.at);
        deliver(event);
      } else if (timer == nullptr) {
        now_ = stop;
        return;
      } else {
        now_ = std::max(now_, next);
        if (at_sender) {
          run_sender(*timer);
        } else {
          run_receiver(*timer);
        }
      }
    }
  }

  Duration now() const { return now_ - kStart; }
  /// Stream bytes the reader has, as the bytes they took on the wire without repairs.
  double delivered(std::size_t flow) const {
    const Flow& f = *flows_[flow];
    return static_cast<double>(f.read) * static_cast<double>(f.properties.datagram_bytes) /
           static_cast<double>(f.properties.datagram_bytes - kOverhead);
  }
  Sender& sender(std::size_t flow) { return flows_[flow]->sender; }
  Receiver& receiver(std::size_t flow) { return flows_[flow]->receiver; }
  ControllerReport report(std::size_t flow) { return *flows_[flow]->sender.controller_report(0); }
  std::optional<Duration> finished_at(std::size_t flow) const { return flows_[flow]->finished; }

  struct Queue {
    std::uint64_t offered = 0, dropped = 0, lost = 0;  // packets; lost: by the path itself
    std::vector<float> delays;                         // seconds, of each packet that got through
  };
  /// Since the last call.
  Queue take_queue() { return std::exchange(queue_, {}); }

private:
  static constexpr Instant kStart{1s};
  static constexpr std::size_t kOverhead = 37;  // header, tag, frame

  struct Flow {
    Flow(const FlowProperties& given, const BottleneckProperties& link, std::size_t index, std::uint64_t seed,
         double buffer)
        : properties(given),
          number(index),
          rng(seed * 1000 + number),
          config(config_for(given, buffer)),
          sender(config, kStart, rng),
          receiver(config, kStart, rng) {
      const PathProperties path{.datagram_bytes = given.datagram_bytes,
                                .is_relay = false,
                                .initial_rtt = link.rtt + given.extra_rtt};
      receiver.add_path(0, path, kStart);
      sender.add_path(0, path, kStart);
      sender_due = kStart + given.start;
    }
    static StreamConfig config_for(const FlowProperties& flow, double buffer) {
      StreamConfig config;
      if (!flow.usual_buffers) {
        config.send_buffer = static_cast<std::size_t>(std::clamp(buffer, 1e6, 400e6));
        config.receive_window = config.send_buffer;
      }
      config.controller = flow.controller;
      config.bbr = flow.bbr;
      config.key_update_packets = flow.key_update_packets;
      config.rate_limit = flow.rate_limit;
      return config;
    }
    FlowProperties properties;
    std::size_t number;
    SeededRng rng;
    StreamConfig config;
    Sender sender;
    Receiver receiver;
    std::optional<Instant> sender_due, receiver_due;
    std::uint64_t written = 0, read = 0, acks = 0;
    std::size_t in_socket = 0;
    Instant last_arrival{}, last_ack{};
    std::optional<Duration> finished;
  };
  struct Event {
    Instant at;
    std::uint64_t order;
    std::size_t flow;
    bool to_receiver;
    std::size_t buffer, size;
    bool operator<(const Event& other) const { return std::tie(at, order) > std::tie(other.at, other.order); }
  };

  void deliver(const Event& event) {
    Flow& flow = *flows_[event.flow];
    const Duration off = event.to_receiver ? link_.receiver_off_cpu : link_.off_cpu;
    if (const auto awake = asleep_until(now_, off)) {  // lies in the socket until the host runs again
      if (event.to_receiver && link_.socket_packets > 0 && flow.in_socket >= link_.socket_packets) {
        ++queue_.lost;
        free_.push_back(event.buffer);
        return;
      }
      if (event.to_receiver) ++flow.in_socket;
      events_.push({*awake, ++order_, event.flow, event.to_receiver, event.buffer, event.size});
      return;
    }
    if (event.to_receiver) flow.in_socket = 0;  // awake: it empties the socket before anything else arrives
    const ByteSpan bytes = ByteSpan(buffers_[event.buffer]).first(event.size);
    if (event.to_receiver) {
      flow.receiver.on_datagram(0, bytes, now_);
    } else {
      flow.sender.on_datagram(0, bytes, now_);
    }
    free_.push_back(event.buffer);
    if (event.to_receiver) {
      run_receiver(flow);
    } else {
      run_sender(flow);
    }
  }

  static std::optional<Instant> asleep_until(Instant now, Duration off) {
    const auto phase = (now - kStart) % Duration(10ms);
    if (phase >= off) return std::nullopt;
    return now + (off - phase);
  }

  void run_sender(Flow& flow) {
    if (const auto awake = asleep_until(now_, link_.off_cpu)) {
      flow.sender_due = awake;
      return;
    }
    flow.sender.on_timeout(now_);
    for (;;) {
      const std::uint64_t left =
          flow.properties.bytes == 0 ? zeros_.size() : flow.properties.bytes - flow.written;
      if (left > 0) {
        const std::size_t room = flow.sender.writable();
        if (room >= zeros_.size() / 4 || room >= left || flow.config.send_buffer < 4 * zeros_.size())
          flow.written += flow.sender.write(
              ByteView(zeros_).first(static_cast<std::size_t>(std::min<std::uint64_t>(left, zeros_.size()))));
      }
      if (flow.properties.bytes != 0 && flow.written == flow.properties.bytes) flow.sender.finish();
      const std::size_t buffer = take_buffer();
      const auto sent = flow.sender.poll_transmit(buffers_[buffer], now_);
      if (!sent) {
        free_.push_back(buffer);
        break;
      }
      carry_data(flow, buffer, sent->size);
    }
    while (const auto event = flow.sender.poll_event())
      if (std::holds_alternative<StreamComplete>(*event)) flow.finished = now();
    flow.sender_due = flow.sender.next_timeout();
  }

  void run_receiver(Flow& flow) {
    if (const auto awake = asleep_until(now_, link_.receiver_off_cpu)) {
      flow.receiver_due = awake;
      return;
    }
    flow.receiver.on_timeout(now_);
    std::optional<Instant> next_read;
    const Duration stall = flow.properties.reader_stalls;
    const Duration phase = now() % Duration(1s) - Duration(500ms);
    const bool stalled = phase >= Duration::zero() && phase < stall;
    if (stalled && !flow.receiver.readable().empty()) next_read = now_ + (stall - phase);
    while (!stalled) {
      std::size_t size = flow.receiver.readable().size();
      if (flow.properties.reader_bytes_per_second > 0) {
        const double due = to_seconds(now()) * flow.properties.reader_bytes_per_second;
        const double may = std::max(due - static_cast<double>(flow.read), 0.0);
        if (static_cast<double>(size) > may) {
          size = static_cast<std::size_t>(may);
          next_read = now_ + 5ms;
        }
      }
      if (size == 0) break;
      flow.read += size;
      flow.receiver.consume(size, now_);
      if (next_read) break;
    }
    while (const auto event = flow.receiver.poll_event())
      if (std::holds_alternative<StreamEnded>(*event)) flow.receiver.confirm(now_);
    for (;;) {
      const std::size_t buffer = take_buffer();
      const auto sent = flow.receiver.poll_transmit(buffers_[buffer], now_);
      if (!sent) {
        free_.push_back(buffer);
        break;
      }
      carry_ack(flow, buffer, sent->size);
    }
    flow.receiver_due = earlier(flow.receiver.next_timeout(), next_read);
  }

  double rate() const {
    double rate = link_.bytes_per_second;
    for (const RateStep& step : link_.steps)
      if (now() >= step.at) rate = step.bytes_per_second;
    return rate;
  }
  Duration one_way(const Flow& flow) const {
    const Duration rtt = link_.rtt_later && now() >= link_.rtt_changes_at ? *link_.rtt_later : link_.rtt;
    return (rtt + flow.properties.extra_rtt) / 2;
  }
  Duration random(Duration most) {
    return most > Duration::zero() ? Duration(rng_.below(static_cast<std::uint64_t>(most.count())))
                                   : Duration::zero();
  }
  bool out(bool data) const {
    for (const Outage& outage : link_.outages)
      if ((data ? outage.data : outage.acks) && now() >= outage.from && now() < outage.until) return true;
    return false;
  }

  bool path_loses() {
    if (link_.loss <= 0) return false;
    if (link_.burst_packets <= 1) return rng_.chance(link_.loss);
    const double leave = 1 / link_.burst_packets;
    in_burst_ = rng_.chance(in_burst_ ? 1 - leave : leave * link_.loss / (1 - link_.loss));
    return in_burst_;
  }

  void carry_data(Flow& flow, std::size_t buffer, std::size_t size) {
    ++queue_.offered;
    const auto bytes = static_cast<double>(size);
    Instant leaves = now_;
    if (link_.policer_seconds > 0) {
      tokens_ = std::min(tokens_ + rate() * to_seconds(now_ - refilled_at_), link_.policer_seconds * rate());
      refilled_at_ = now_;
      if (tokens_ < bytes) {
        ++queue_.dropped;
        free_.push_back(buffer);
        return;
      }
      tokens_ -= bytes;
    } else {
      const double queued = to_seconds(std::max(busy_until_ - now_, Duration::zero())) * rate();
      if (queued + bytes > buffer_bytes_ + bytes * 0.999 && queued > 0) {
        ++queue_.dropped;
        free_.push_back(buffer);
        return;
      }
      queue_.delays.push_back(static_cast<float>(queued / rate()));
      busy_until_ = std::max(busy_until_, now_) + from_seconds(bytes / rate());
      leaves = busy_until_;
    }
    if (path_loses() || out(true)) {
      ++queue_.lost;
      free_.push_back(buffer);
      return;
    }
    Instant at = leaves + one_way(flow) + random(link_.jitter);
    if (link_.reorder > 0 && rng_.chance(link_.reorder)) {
      at += 5ms;
    } else {
      at = flow.last_arrival = std::max(at, flow.last_arrival);
    }
    if (link_.duplicate > 0 && rng_.chance(link_.duplicate)) {
      const std::size_t copy = take_buffer();
      std::copy_n(buffers_[buffer].begin(), size, buffers_[copy].begin());
      events_.push({at, ++order_, flow.number, true, copy, size});
    }
    events_.push({at, ++order_, flow.number, true, buffer, size});
  }

  void carry_ack(Flow& flow, std::size_t buffer, std::size_t size) {
    Instant at = now_;
    if (++flow.acks % link_.ack_keep != 0) {
      free_.push_back(buffer);
      return;
    }
    if (link_.ack_bytes_per_second > 0) {
      const Duration queued = std::max(ack_busy_until_ - now_, Duration::zero());
      if (to_seconds(queued) * link_.ack_bytes_per_second > 50 * 100) {
        free_.push_back(buffer);
        return;
      }
      ack_busy_until_ = std::max(ack_busy_until_, now_) +
                        from_seconds(static_cast<double>(size) / link_.ack_bytes_per_second);
      at = ack_busy_until_;
    }
    if (out(false) || (link_.ack_loss > 0 && rng_.chance(link_.ack_loss))) {
      free_.push_back(buffer);
      return;
    }
    at += one_way(flow) + random(link_.ack_jitter);
    if (link_.ack_congestion > Duration::zero()) {  // a triangle: up for 250 ms, down for 250 ms
      const double phase = std::abs(static_cast<double>((now() % Duration(500ms)).count()) / 250e6 - 1);
      at += from_seconds((1 - phase) * to_seconds(link_.ack_congestion));
    }
    if (link_.ack_gather > Duration::zero()) {
      const auto rest = (at - kStart) % link_.ack_gather;
      if (rest > Duration::zero()) at += link_.ack_gather - rest;
    }
    at = flow.last_ack = std::max(at, flow.last_ack);
    events_.push({at, ++order_, flow.number, false, buffer, size});
  }

  std::size_t take_buffer() {
    if (free_.empty()) {
      buffers_.emplace_back(2048);
      return buffers_.size() - 1;
    }
    const std::size_t buffer = free_.back();
    free_.pop_back();
    return buffer;
  }

  BottleneckProperties link_;
  SeededRng rng_;
  Instant now_ = kStart;
  Bytes zeros_;
  std::vector<std::unique_ptr<Flow>> flows_;
  std::priority_queue<Event> events_;
  std::deque<Bytes> buffers_;
  std::vector<std::size_t> free_;
  std::uint64_t order_ = 0;
  Queue queue_;
  double buffer_bytes_ = 0, tokens_ = 0;
  Instant busy_until_ = kStart, ack_busy_until_ = kStart, refilled_at_ = kStart;
  bool in_burst_ = false;
};

}  // namespace dh::bulk::test
