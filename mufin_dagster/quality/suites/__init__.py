"""The rules as data, one module a noun, named as the noun: adding an expectation is adding a line."""
