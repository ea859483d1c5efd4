#pragma once

// The little HTTP a client needs before its stream becomes something else: one answer's head, and the gist
// of its body for an error message.

#include <expected>
#include <string>

#include "io/dial.hh"
#include "io/use_result.hh"
#include "wire/http_head.hh"

namespace dh::io {

enum class AnswerFailure : std::uint8_t {
  Closed,   // the stream ended or failed before the blank line
  NotHttp,  // something else came, or a head without end
};

struct HttpAnswer {
  HttpResponseHead head;
  Bytes rest;  // what came with the head and follows its blank line: no longer HTTP after a 101
};

/// Whether bytes that begin like `first` may be the beginning of an HTTP/1.x answer.
bool may_be_http(ByteView first);

/// Reads one final answer's head; 1xx answers other than 101 are passed over. `begun`: bytes already read.
asio::awaitable<std::expected<HttpAnswer, AnswerFailure>> read_answer(ByteStream& stream, Bytes begun);

/// Reads the beginning of the body for an error message. Ends by closing the stream after 1 s at the latest.
asio::awaitable<std::string> read_excerpt(ByteStream& stream, HttpAnswer answer);

/// The words of an HTML or text body, without tags, scripts and styles, on one line, fit to print.
std::string body_excerpt(std::string_view body);

}  // namespace dh::io
