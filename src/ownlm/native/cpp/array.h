// NumPy arrays, or anything else with a buffer, as checked pointers. Complaints name the argument.
#pragma once
#include <nanobind/nanobind.h>

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

namespace ownlm {

// A C-contiguous array of `type` (f float32, d float64, b int8, B uint8, i int32), read-only unless writable.
// Input that is not aligned to its element (a mapped file) is copied; output has to be aligned.
class Array {
 public:
  static constexpr int64_t any = -1;
  Array(nanobind::handle object, const char* name, char type, std::initializer_list<int64_t> shape, bool writable = false);
  Array(Array&& other) noexcept;
  ~Array();

  int64_t size(int axis) const { return view_.shape[axis]; }
  int64_t bytes() const { return view_.len; }
  template <class T>
  T* data() const { return static_cast<T*>(data_); }
  bool overlaps(const Array& other) const;
  bool same(const Array& other) const { return data_ == other.data_; }

 private:
  Py_buffer view_{};
  void* data_ = nullptr;
  std::vector<uint64_t> copy_;
};

std::optional<Array> optional_floats(nanobind::handle object, const char* name, std::initializer_list<int64_t> shape);  // None: none
inline const float* pointer(const std::optional<Array>& a) { return a ? a->data<const float>() : nullptr; }

[[noreturn]] void refuse(const std::string& message);  // ValueError

}  // namespace ownlm
