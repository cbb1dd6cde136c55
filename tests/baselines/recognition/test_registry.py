import importlib
import pkgutil

from vitau.baselines import recognition
from vitau.baselines.recognition.registry import recognition_methods


def test_the_methods_are_those_of_table_1_in_its_order_and_then_the_controls():
    titles = [method.title for method in recognition_methods().values()]
    assert titles == [
        "LSTM",
        "SENet",
        "DHN-style",
        "PHCNN-style",
        "PHCNN-LSTM-style",
        "FNPA-RCELM-CCNN-style",
        "Improved SSD-style",
        "MobileNetV2 on mesh, 68 points",
        "FKA+GAN-style, bicubic",
        "autoFPR-style",
        "autoFPR-style, gradient boosting",
        "VGG16+Softmax",
        "ViTAU",
        "ResNet-50",
        "Frozen DINOv2 features",
        "Landmarks alone",
        "Mirror difference",
        "Clip attention",
        "Identity adversary",
        "Movement features",
    ]


def test_every_method_recognizes_and_has_the_name_of_its_key():
    methods = recognition_methods()
    assert {method.task for method in methods.values()} == {"palsy"}
    assert [method.name for method in methods.values()] == list(methods)


def test_the_docstring_of_every_method_says_whose_work_it_is():
    folders = [importlib.import_module(f"{recognition.__name__}.{name}") for name in ("clips", "landmarks", "networks")]
    shared = {"classifier", "estimators", "correntropy", "items", "parts"}
    modules = [
        importlib.import_module(f"{folder.__name__}.{info.name}")
        for folder in folders
        for info in pkgutil.iter_modules(folder.__path__)
        if info.name not in shared
    ]
    assert len(modules) == 18
    for module in modules:
        words = " ".join(module.__doc__.split())
        assert "Ours: " in words, module.__name__
        assert "authors': " in words or "No article." in words, module.__name__
