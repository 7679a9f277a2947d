package main

import "reflect"

// overlay applies the fields that a specification sets to a configuration of the
// same shape, as the API's "unset means unchanged" asks for. Both are pointers to
// structs; fields are paired by name. What the configuration points to is replaced,
// never changed, because clients may be reading it.
func overlay(config, spec any) {
	overlayStruct(reflect.ValueOf(config).Elem(), reflect.ValueOf(spec).Elem())
}

func overlayStruct(target, source reflect.Value) {
	for i := range source.NumField() {
		from := source.Field(i)
		to := target.FieldByName(source.Type().Field(i).Name)
		if !to.IsValid() || !to.CanSet() || from.IsZero() {
			continue
		}
		switch {
		case from.Kind() == reflect.Struct && to.Kind() == reflect.Struct:
			overlayStruct(to, from)
		case isStructPointer(from) && from.Type() == to.Type():
			merged := reflect.New(to.Type().Elem())
			if !to.IsNil() {
				merged.Elem().Set(to.Elem())
			}
			overlayStruct(merged.Elem(), from.Elem())
			to.Set(merged)
		case from.Type() == to.Type():
			to.Set(from)
		case from.Kind() == reflect.Pointer && from.Type().Elem() == to.Type():
			to.Set(from.Elem())
		}
	}
}

func isStructPointer(value reflect.Value) bool {
	return value.Kind() == reflect.Pointer && value.Type().Elem().Kind() == reflect.Struct
}
