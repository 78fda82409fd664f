"""python -m cvae_lightning.export run=<run directory>: export a trained model as a web page or to ONNX."""

from cvae_lightning.cli.main import main

if __name__ == "__main__":
    main("export")
