// NAT-PMP and PCP: what a parser accepts is written back and read as the same value.
#include "base/check.hh"
#include "wire/nat_pmp.hh"
#include "wire/pcp.hh"

using namespace dh;
using namespace dh::wire;

namespace {

template <typename Message>
Bytes written(const Message& message) {
  Bytes out;
  Writer w(out);
  message.serialize(w);
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // A copy of the exact size, so that the sanitizer sees every read past its end.
  const Bytes datagram(reinterpret_cast<const std::byte*>(data),
                       reinterpret_cast<const std::byte*>(data) + size);
  int accepted = 0;  // no datagram is two things at once

  if (const auto request = nat_pmp::parse_request(datagram)) {
    ++accepted;
    const Bytes again = std::visit([](const auto& m) { return written(m); }, *request);
    CHECK(again.size() == datagram.size() && nat_pmp::parse_request(again) == *request);
  }
  if (const auto reply = nat_pmp::parse_reply(datagram)) {
    ++accepted;
    const Bytes again = std::visit([](const auto& m) { return written(m); }, *reply);
    CHECK(again.size() <= datagram.size() && nat_pmp::parse_reply(again) == *reply);
  }
  if (const auto request = pcp::Request::parse(datagram)) {
    ++accepted;
    const Bytes again = written(*request);
    CHECK(again.size() == datagram.size() && pcp::Request::parse(again) == *request);
  }
  if (const auto reply = pcp::Reply::parse(datagram)) {
    ++accepted;
    const Bytes again = written(*reply);
    CHECK(again.size() <= datagram.size() && pcp::Reply::parse(again) == *reply);
    CHECK(reply->mapping || reply->opcode != 1 || reply->result != pcp::Result::Success);
  }
  CHECK(accepted <= 1);
  return 0;
}
