"""What data sets and their labels are called."""

TITLES = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "kmnist": "KMNIST"}

NAMES = {
    "fashion_mnist": (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    "kmnist": ("お", "き", "す", "つ", "な", "は", "ま", "や", "れ", "を"),
}


def label_names(dataset: str, num_classes: int) -> list[str]:
    """One name a class; the digits, and the labels of any data set without names of its own, are their numbers."""
    names = NAMES.get(dataset, ())
    return list(names) if len(names) == num_classes else [str(label) for label in range(num_classes)]


def data_title(dataset: str) -> str:
    return TITLES.get(dataset, dataset)
