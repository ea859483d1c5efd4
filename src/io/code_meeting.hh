#pragma once

// Codes over real relays. Spec: docs/protocol/code.md.
//
// A command that sends hosts a code beside the session that waits for its token:
//
//   io::CodeHostOptions code;
//   code.relay = token.relays.front();                       // the code's region number comes from it
//   if (self_relay) code.own_relay = self_relay->loopback(); // then it is found on the local network
//   code.words = options.words;
//   code.token_text = session::format_token(token);
//   code.dial = command.dial_options();
//   io::CodeHost host(context.get_executor(), std::move(code), rng, observer);
//   host.start();                                            // observer.on_code() says what to print
//   command.run_session(std::move(driver));                  // claims come as with any token
//
// on_code_ended with anything but Used means that nobody can get the token any more: end the session
// (SessionDriver::cancel). Once the session is claimed, destroy or stop() the host.
//
// A command that receives asks for the token and goes on as if it had been given one:
//
//   auto token = command.run(io::resolve_code(std::move(resolve), rng));
//   if (!token) throw CommandError(exit_for(token.error().kind), token.error().message);

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/derp_map_source.hh"
#include "io/lan_discovery.hh"
#include "session/code_receiver.hh"
#include "session/code_sender.hh"

namespace dh::io {

/// What a hosted code tells the command that made it. Called on the host's executor, never from inside
/// start().
class CodeObserver {
public:
  virtual ~CodeObserver() = default;
  /// The code works now: print it.
  virtual void on_code(const session::Code& code, Duration valid_for) = 0;
  virtual void on_code_wrong_try(unsigned number, unsigned of) = 0;
  /// Somebody proved that he knows it; he claims the token next.
  virtual void on_code_used() = 0;
  /// The relay where the code waits cannot be reached; goes on trying. A clause.
  virtual void on_code_trouble(const std::string& why) = 0;
  /// The last call.
  virtual void on_code_ended(session::CodeEnd end) = 0;
};

struct CodeHostOptions {
  session::RelayRef relay;            // where the two meet: the token's first
  std::optional<Endpoint> own_relay;  // it is hosted by this process and dialled here
  std::size_t words = session::kMinCodeWords;
  std::string token_text;
  DialOptions dial;
  Duration life = session::kCodeLife;
  Duration self_check_every = session::kSelfCheckEvery;
  session::StretchCost stretch;
  LanGroups lan;
};

/// One code from its drawing to its end; draws again when the first two words are in use. A resource on one
/// executor. Takes 68 ms of computation for every drawing, two times that with a relay of its own.
class CodeHost {
public:
  CodeHost(asio::any_io_executor executor, CodeHostOptions options, Rng& rng, CodeObserver& observer);
  ~CodeHost();
  CodeHost(const CodeHost&) = delete;
  CodeHost& operator=(const CodeHost&) = delete;
  void start();
  /// Leaves the relay; no call to the observer afterwards. Safe to repeat.
  void stop();
  session::CodeSenderCounters counters() const;

private:
  struct Impl;
  std::shared_ptr<Impl> impl_;  // shared with its posted handlers
};

/// What the caller can do about it, by the exit status it stands for.
enum class CodeErrorKind : std::uint8_t {
  Nobody,     // nobody is there for this code (exit 4)
  NoRelay,    // the place to meet cannot be reached (exit 4)
  WrongCode,  // wrong, used, burnt, or interfered with (exit 5)
  Unusable,   // the DERP map, memory, or another version of this program (exit 1)
};
struct CodeError {
  CodeErrorKind kind = CodeErrorKind::Unusable;
  std::string message;  // a sentence
};

struct ResolveCodeOptions {
  explicit ResolveCodeOptions(session::Code wanted) : code(std::move(wanted)) {}
  session::Code code;
  std::vector<session::RelayRef> servers;  // own relays (--derp-server), where codes without a number meet
  std::string derp_map;                    // --derp-map, for codes with one; empty: the public default
  std::string cache_dir = default_cache_dir();
  DialOptions dial;
  Duration wait = 15s;  // for the sender to appear, at each place where it may be
  UnixSeconds wall_now{};
  session::StretchCost stretch;
  LanGroups lan;
  std::vector<std::string> default_map_urls{kDefaultMapUrls.begin(), kDefaultMapUrls.end()};
};

/// The token behind a code. Makes one guess at most, whatever happens: a person decides about another.
/// Ownership: `rng` must outlive the coroutine.
asio::awaitable<std::expected<session::Token, CodeError>> resolve_code(ResolveCodeOptions options, Rng& rng);

}  // namespace dh::io
