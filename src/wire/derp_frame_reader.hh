#pragma once

#include <optional>

#include "base/bytes.hh"
#include "wire/derp_frame.hh"

namespace dh::wire::derp {

/// Cuts a byte stream into frames inside its own buffer: bytes are read straight into space() and a frame is
/// handed out where it lies. For the end that owns one stream, a client.
class FrameReader {
public:
  struct Frame {
    FrameType type{};
    ByteSpan payload;  // inside the reader: valid until the next space() or append()
  };

  /// Room for at least `min_size` more bytes at the end of the buffer; follow with commit().
  ByteSpan space(std::size_t min_size);
  void commit(std::size_t size);
  void append(ByteView bytes);

  /// The header of the frame next() would return, as soon as its five bytes are here.
  std::optional<FrameHeader> header() const;
  /// The next whole frame, or nullopt: more bytes are needed, or the frame is too_long().
  std::optional<Frame> next();
  /// The next frame declares more than kMaxFramePayload. Final: nothing after it can be found.
  bool too_long() const;
  std::size_t buffered() const { return end_ - begin_; }

private:
  Bytes buffer_;  // bytes [begin_, end_) are unread; its size is its capacity
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

/// Cuts a byte stream into frames where the caller's bytes lie: only a frame that straddles two calls is
/// copied. For the end that serves many streams and must not hold a buffer for each, a server.
/// Contract: feed(), then header() and next() or discard() until they yield nothing, then keep_rest().
class FrameSplitter {
public:
  struct Frame {
    FrameType type{};
    ByteView payload;
    ByteView whole;  // header and payload
  };

  /// Borrows `bytes` until keep_rest().
  void feed(ByteView bytes);
  /// The header of the next frame, as soon as its five bytes are here. The caller judges its length.
  std::optional<FrameHeader> header();
  /// The next whole frame; valid until the next call.
  std::optional<Frame> next();
  /// Drops the next frame, as much of it as is here now and the rest as it comes, without storing it.
  void discard();
  /// Copies what is left of the fed bytes; ends the borrowing.
  void keep_rest();
  /// Bytes held between calls.
  std::size_t held() const { return held_.size() - held_begin_; }
  /// Gives memory back while nothing is held.
  void shrink();

private:
  bool top_up(std::size_t size);  // makes `size` bytes contiguous if they are here
  ByteView front() const;
  void drop(std::size_t size);

  ByteView fed_;
  Bytes held_;  // starts before fed_ in the stream; [held_begin_, end) is unread
  std::size_t held_begin_ = 0;
  std::uint64_t discarding_ = 0;  // bytes of a discarded frame still to come
};

}  // namespace dh::wire::derp
