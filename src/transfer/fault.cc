#include "transfer/fault.hh"

#include "base/printable.hh"

namespace dh::transfer {
namespace {

std::string_view clause(Fault fault) {
  switch (fault) {
    case Fault::BadMagic:
      return "the stream is not a transfer";
    case Fault::BadVersion:
      return "the transfer is of a newer version; update derphole here";
    case Fault::UnknownRecord:
      return "the stream has a record of an unknown type";
    case Fault::RecordTooLong:
      return "the stream has a record longer than its type allows";
    case Fault::BadRecord:
      return "the stream has a malformed record";
    case Fault::WrongOrder:
      return "the stream has a record where it does not belong";
    case Fault::EmptyName:
      return "a name is empty";
    case Fault::DotName:
      return "a name is . or ..";
    case Fault::SlashInName:
      return "a name contains a slash";
    case Fault::NulInName:
      return "a name contains a NUL byte";
    case Fault::NameTooLong:
      return "a name is longer than 255 bytes";
    case Fault::TooDeep:
      return "a path has more than 64 components";
    case Fault::BadParent:
      return "an entry is inside something that is not a directory listed before it";
    case Fault::BadKind:
      return "an entry is neither file, directory, symlink nor text";
    case Fault::BadMode:
      return "an entry's mode has more than the nine permission bits";
    case Fault::SizeTooLarge:
      return "a file is announced larger than any can be";
    case Fault::TooManyEntries:
      return "the list has more than 4 million entries";
    case Fault::TooMuchMetadata:
      return "the list is longer than 256 MiB";
    case Fault::WrongTotals:
      return "the list does not add up to the announced totals";
    case Fault::EmptyManifest:
      return "the list is empty";
    case Fault::TextNotAlone:
      return "a text comes together with files";
    case Fault::TextTooLarge:
      return "a text is larger than 16 MiB";
    case Fault::LinkEmpty:
      return "a symlink has no target";
    case Fault::LinkAbsolute:
      return "a symlink has an absolute target";
    case Fault::LinkOutside:
      return "a symlink points outside of what is sent";
    case Fault::LinkNul:
      return "a symlink's target contains a NUL byte";
    case Fault::LinkTooLong:
      return "a symlink's target is longer than 4095 bytes";
    case Fault::DuplicateName:
      return "a name occurs twice in one directory";
    case Fault::FileAndDirectory:
      return "a name is a directory and something else at once";
    case Fault::UnicodeTwin:
      return "two names in one directory look the same and differ only in how their characters are encoded";
    case Fault::CaseTwin:
      return "two names in one directory differ only in case, and the destination does not tell them apart";
    case Fault::HiddenName:
      return "a hidden name at the top (--allow-hidden takes it)";
    case Fault::NotAsked:
      return "content came for an entry that was not asked for";
    case Fault::BlockOrder:
      return "a file's blocks are out of order";
    case Fault::BlockSize:
      return "a block has the wrong size";
    case Fault::DamagedBlock:
      return "a block is damaged";
    case Fault::FileSize:
      return "a file ends before or after its announced size";
    case Fault::DamagedFile:
      return "a file's digest does not match";
    case Fault::MissingFile:
      return "a file was asked for and never came";
    case Fault::BadAnswer:
      return "the receiver's answer does not fit what was offered";
  }
  return "unknown fault";
}

}  // namespace

FaultClass class_of(Fault fault) {
  switch (fault) {
    case Fault::DamagedBlock:
    case Fault::DamagedFile:
      return FaultClass::Integrity;
    case Fault::EmptyName:
    case Fault::DotName:
    case Fault::SlashInName:
    case Fault::NulInName:
    case Fault::NameTooLong:
    case Fault::TooDeep:
    case Fault::LinkEmpty:
    case Fault::LinkAbsolute:
    case Fault::LinkOutside:
    case Fault::LinkNul:
    case Fault::LinkTooLong:
    case Fault::DuplicateName:
    case Fault::FileAndDirectory:
    case Fault::UnicodeTwin:
    case Fault::CaseTwin:
    case Fault::HiddenName:
    case Fault::BadMode:
    case Fault::BadKind:
    case Fault::TooManyEntries:
    case Fault::TooMuchMetadata:
    case Fault::SizeTooLarge:
    case Fault::TextTooLarge:
      return FaultClass::Unsafe;
    default:  // the format's own rules
      return FaultClass::Protocol;
  }
}

std::string sentence(const Refusal& refusal) {
  std::string out(clause(refusal.fault));
  if (!refusal.name.empty()) out += ": " + printable(refusal.name);
  return out;
}

}  // namespace dh::transfer
