"""llama.cpp as owned Python objects; the only folder that imports `llama_cpp`."""
