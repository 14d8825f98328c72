"""From a model to a folder that OpenVINO or ONNX Runtime opens at once, tested against the model in float32."""
