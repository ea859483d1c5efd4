#include "session/server_url.hh"

#include <algorithm>

#include "base/printable.hh"
#include "base/web_url.hh"

namespace dh::session {
namespace {

constexpr std::string_view kPinPrefix = "sha256-raw:";
constexpr std::uint16_t kStunPort = 3478;

std::unexpected<std::string> wrong(std::string_view text, std::string_view why) {
  return std::unexpected("the relay \"" + printable(text) + "\" " + std::string(why) +
                         "; write it as https://HOST[:PORT][?pin=sha256-raw:HEX]");
}

// One `name=value` of the query. Empty when fine, else the clause that says what is wrong.
std::string apply_parameter(std::string_view parameter, RelayRef& relay, bool& has_stun) {
  const auto equals = parameter.find('=');
  const std::string_view name = parameter.substr(0, equals);
  const std::string_view value =
      equals == std::string_view::npos ? std::string_view{} : parameter.substr(equals + 1);
  if (name == "pin") {
    if (relay.pin) return "names its pin twice";
    if (!value.starts_with(kPinPrefix)) return "has a pin that does not start with sha256-raw:";
    relay.pin = array_from_hex<32>(value.substr(kPinPrefix.size()));
    return relay.pin ? "" : "has a pin that is not 64 hexadecimal digits";
  }
  if (name == "stun") {
    if (has_stun) return "names its STUN port twice";
    const auto port = parse_port(value, true);
    if (!port) return "has a STUN port that is not a number from 0 to 65535";
    has_stun = true;
    relay.stun_port.reset();
    if (*port != 0) relay.stun_port = *port;
    return "";
  }
  return "has the unknown parameter \"" + printable(name, 40) + "\"";
}

}  // namespace

std::expected<RelayRef, std::string> parse_server_url(std::string_view text) {
  const auto url = WebUrl::parse(text);
  if (!url) return wrong(text, url.error());
  const std::string_view target = url->target;
  const std::string_view path = target.substr(0, target.find('?'));
  std::string_view query = path.size() < target.size() ? target.substr(path.size() + 1) : std::string_view{};
  if (path != "/" && path != "/derp") return wrong(text, "has a path");
  if (!url->tls && !url->is_loopback()) return wrong(text, "uses http://, which is for this machine only");

  RelayRef relay;
  relay.host = url->host;
  relay.port = url->port;
  relay.plain_http = !url->tls;
  if (url->tls) relay.stun_port = kStunPort;
  bool has_stun = false;
  while (!query.empty()) {
    const std::string_view parameter = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(parameter.size() + 1, query.size()));
    if (const std::string why = apply_parameter(parameter, relay, has_stun); !why.empty())
      return wrong(text, why);
  }
  if (relay.pin && relay.plain_http) return wrong(text, "has a pin, but http:// has no certificate");
  return relay;
}

std::string format_server_url(const RelayRef& relay) {
  const WebUrl url{.tls = !relay.plain_http, .host = relay.host, .port = relay.port, .target = ""};
  std::string out = url.to_string();
  char separator = '?';
  const auto add = [&](const std::string& parameter) {
    out += separator + parameter;
    separator = '&';
  };
  if (relay.pin) add("pin=" + std::string(kPinPrefix) + to_hex(*relay.pin));
  const std::uint16_t usual = relay.plain_http ? 0 : kStunPort;
  const std::uint16_t stun = relay.stun_port.value_or(0);
  if (stun != usual) add("stun=" + std::to_string(stun));
  return out;
}

}  // namespace dh::session
