#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <variant>

#include "tunnel/codes.hh"

namespace dh::tunnel {

// What the shell has to do with one of its two ends. Nothing follows CloseTcp and ResetTcp.
struct FinishStream {};  // TCP's FIN, onwards
struct ResetStream {
  std::uint64_t code;
};
struct StopStream {  // the peer may stop sending
  std::uint64_t code;
};
struct ShutdownTcp {};  // the peer's FIN, onwards: shutdown(SHUT_WR)
struct CloseTcp {};     // both FINs went through
struct ResetTcp {};     // RST: SO_LINGER 0 and close
using BridgeAction = std::variant<FinishStream, ResetStream, StopStream, ShutdownTcp, CloseTcp, ResetTcp>;

/// The life of one TCP connection that is carried by one stream: what happens at one end, as the other end
/// shall see it. Bytes are not its business, only ends. Pure; drain poll_action after every input.
///
/// Each direction by itself:   Open --FIN--> Finished
/// The two together:           any RST, any failure --> both directions are over, and both ends get to know
class Bridge {
public:
  // What the TCP end did.
  void on_tcp_end();     // FIN: read returned 0, after everything it had was written to the stream
  void on_tcp_failed();  // RST, or any other error of the socket
  /// The socket could not be had at all (share: dialling the target failed).
  void on_tcp_refused(StreamCode why);
  // What the stream did.
  void on_stream_end();  // its end was reached, after everything it had was written to the socket
  void on_stream_reset(std::uint64_t code);
  void on_stream_stopped();  // the peer reads no more
  /// The session is over.
  void on_stream_lost();

  std::optional<BridgeAction> poll_action();

  bool reads_tcp() const { return to_stream_ == Direction::Open; }
  bool writes_tcp() const { return to_tcp_ == Direction::Open; }
  /// No end will do anything any more.
  bool is_over() const { return over_; }
  /// Why the peer's side ended it; empty: it did not.
  std::optional<std::uint64_t> reset_code() const { return reset_code_; }

private:
  enum class Direction : std::uint8_t { Open, Finished };

  void finish_if_both_ended();
  void break_off(std::uint64_t code, bool tell_stream);

  Direction to_stream_ = Direction::Open, to_tcp_ = Direction::Open;
  bool over_ = false;
  std::optional<std::uint64_t> reset_code_;
  std::deque<BridgeAction> actions_;
};

}  // namespace dh::tunnel
