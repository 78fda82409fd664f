"""The names of the data sets and of their labels, as a reader knows them."""

TITLES = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "kmnist": "KMNIST"}

NAMES = {
    "fashion_mnist": (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    "kmnist": ("お", "き", "す", "つ", "な", "は", "ま", "や", "れ", "を"),
}


def label_names(dataset: str, num_classes: int) -> list[str]:
    """The name of each class; a data set that has no names for its labels, such as MNIST, uses their numbers."""
    names = NAMES.get(dataset, ())
    return list(names) if len(names) == num_classes else [str(label) for label in range(num_classes)]


def data_title(dataset: str) -> str:
    """The usual spelling of a data set's name; of an unknown one, its name in the configuration."""
    return TITLES.get(dataset, dataset)
