#include "array.h"

#include <cstring>

namespace nb = nanobind;

namespace ownlm {
namespace {

const char* type_name(char type) {
  switch (type) {
    case 'f': return "float32";
    case 'b': return "int8";
    case 'B': return "uint8";
    case 'H': return "uint16";
    case 'd': return "float64";
    default: return "int32";
  }
}

bool matches(const Py_buffer& view, char type) {
  const char* format = view.format ? view.format : "B";
  if (*format == '<' || *format == '=' || *format == '@') ++format;
  const bool same = *format == type || (type == 'i' && *format == 'l');  // int32 is a long on Windows
  const Py_ssize_t bytes = type == 'd' ? 8 : type == 'f' || type == 'i' ? 4 : type == 'H' ? 2 : 1;
  return same && format[1] == '\0' && view.itemsize == bytes;
}

std::string shape_text(const int64_t* sizes, size_t count) {
  std::string text = "(";
  for (size_t i = 0; i < count; ++i) {
    text += sizes[i] == Array::any ? "any" : std::to_string(sizes[i]);
    if (i + 1 < count || count == 1) text += count == 1 ? "," : ", ";
  }
  return text + ")";
}

}  // namespace

void refuse(const std::string& message) { throw nb::value_error(message.c_str()); }

Array::Array(nb::handle object, const char* name, char type, std::initializer_list<int64_t> shape, bool writable) {
  const int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0);
  if (PyObject_GetBuffer(object.ptr(), &view_, flags) != 0) {
    PyErr_Clear();
    const bool buffer = PyObject_CheckBuffer(object.ptr());
    refuse(std::string(name) + (!buffer ? " is not an array" : writable ? " is not a writable C-contiguous array" : " is not C-contiguous: use numpy.ascontiguousarray"));
  }
  std::string problem;
  if (!matches(view_, type)) {
    problem = std::string(" holds '") + (view_.format ? view_.format : "B") + "', not " + type_name(type);
  } else {
    std::vector<int64_t> sizes(view_.shape, view_.shape + view_.ndim);
    bool fits = sizes.size() == shape.size();
    for (size_t i = 0; fits && i < sizes.size(); ++i) fits = shape.begin()[i] == any || shape.begin()[i] == sizes[i];
    if (!fits) problem = " has shape " + shape_text(sizes.data(), sizes.size()) + ", not " + shape_text(shape.begin(), shape.size());
  }
  const bool aligned = reinterpret_cast<uintptr_t>(view_.buf) % static_cast<size_t>(view_.itemsize ? view_.itemsize : 1) == 0;
  if (problem.empty() && writable && !aligned) problem = " is not aligned to its elements";
  if (!problem.empty()) {
    PyBuffer_Release(&view_);
    refuse(name + problem);
  }
  data_ = view_.buf;
  if (!aligned) {
    copy_.resize(static_cast<size_t>(view_.len) / sizeof(uint64_t) + 1);
    std::memcpy(copy_.data(), view_.buf, static_cast<size_t>(view_.len));
    data_ = copy_.data();
  }
}

Array::Array(Array&& other) noexcept : view_(other.view_), data_(other.data_), copy_(std::move(other.copy_)) {
  // PyBuffer_Release of a moved-from view does nothing. For a one-axis array, shape may point into the view itself.
  if (other.view_.shape == &other.view_.len) view_.shape = &view_.len;
  if (other.view_.strides == &other.view_.itemsize) view_.strides = &view_.itemsize;
  other.view_.obj = nullptr;
}

Array::~Array() { PyBuffer_Release(&view_); }

bool Array::overlaps(const Array& other) const {
  const char *a = data<char>(), *b = other.data<char>();
  return a < b + other.bytes() && b < a + bytes();
}

std::optional<Array> optional_floats(nb::handle object, const char* name, std::initializer_list<int64_t> shape) {
  if (object.is_none()) return std::nullopt;
  return Array(object, name, 'f', shape);
}

}  // namespace ownlm
